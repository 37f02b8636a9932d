"""Texts are scanned by linear means only: no regular expression takes four times as long for twice as much text.

Peers' texts meet most of them in the reactor. Each expression of the program is registered here with what is worst for
it; one that is not makes this fail.
"""

import re
import time
from collections.abc import Callable
from functools import cache, partial

import pytest

from buildtool.adapters.mail import plain_text
from buildtool.model import text
from buildtool.model.addresses import find_address
from buildtool.project import trial
from tests.support.expressions import METHODS, Expression, expressions
from web.pages import words

pytestmark = pytest.mark.xdist_group("checkout")  # whose syntax trees are read once

SIZES = (1_000, 8_000)
"""Characters of the texts, each tried against one twice as long.

For 16,000 characters even a quadratic search that looks at 60 of them in a nanosecond takes longer than AT_ONCE.
"""

AT_ONCE = 0.004
"""Seconds of the processor within which nothing has to be compared: even so long a text takes no longer."""

TIMES = 3.0
"""Twice as much text may take so many times as long: it is 2 for what is linear, 4 for what is quadratic."""

HEX, DIGITS, NAME = ("a", "0", "g"), ("0", "1", "1-", "-"), ("a", "a.", "_-", "é")

WORST: dict[str | bytes, tuple[str, ...]] = {
    # Numbers, digests, commits and client ids.
    r"[0-9]{1,18}": DIGITS,
    # Names of channels.
    r"[a-z0-9][a-z0-9._-]{0,39}": ("a", "a.", "-_"),
    # Words in what is asked for with --source.
    r"\w+": ("a", "-", "a-"),
    # Names of tags that may be versions.
    r"\D*?(\d{1,9}(?:\.\d{1,9}){0,8})(.*)\Z": ("v", "1", "1.", "v1."),
    r"[-_.]?(dev|alpha|a|beta|b|c|rc|pre|preview)[-_.]?(\d{0,9})\Z": ("rc", "a", "1", "-"),
    r"[0-9a-f]{64}": HEX,
    r"[0-9a-f]{64}\Z": HEX,
    r"[0-9a-f]{32}\Z": HEX,
    r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z": HEX,
    rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z": HEX,
    r"(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\Z": HEX,
    r"[0-9a-fA-F]{4,63}\Z": HEX,
    r"[0-9]{1,9}\Z": DIGITS,
    r"[A-Za-z0-9._-]+\Z": HEX,
    r"(?<![\w./-])bin/(metaserver|webserver|buildserver\.py|startcompile\.py)(?![\w/-])": (
        "bin/",
        "bin/webserver",
    ),
    r"[1-9][0-9]{0,17}\Z": DIGITS,
    # The name of a backup's directory.
    r"backup-\d{8}T\d{6}Z(-\d{1,3})?": ("backup-", "0", "-1", "T0"),
    # The version of a C library that was asked for.
    r"([0-9]{1,4}(?:\.[0-9]{1,4})?)(?![0-9])": ("1", "1.", "."),
    # Names in files of programs, of at most 4,096 characters: libraries, loaders, versions of symbols, modules of WASI.
    r"libc\.so\.6(\.1)?|ld-linux.*|ld64\.so\.[12]|ld\.so\.1": ("libc.so.6", "ld-linux", "l"),
    r"libc\.musl-.*|ld-musl-.*": ("libc.musl-", "ld-musl-", "l"),
    r"libc\.so\.[01]|ld-?uClibc.*|ld64-uClibc.*": ("ld-uClibc", "ld64-uClibc", "l"),
    r"linker(64)?": ("linker", "linker64"),
    r"libc\.so": ("libc.so", "l"),
    r"GLIBC_([0-9]{1,4}(\.[0-9]{1,4}){1,3})\Z": ("GLIBC_", "1.", "GLIBC_1.1"),
    r"api-ms-win-crt-.*|ucrtbase.*\.dll|vcruntime.*\.dll": ("api-ms-win-crt-", "ucrtbase.dll", "ucrtbase", ".dll"),
    r"wasi_snapshot_preview[0-9]{1,3}\Z": ("wasi_snapshot_preview", "1"),
    # Releases and packages of Debian as their owner says them, directories of them, and what mmdebstrap says.
    r"[a-z][a-z0-9.-]{1,30}": NAME,
    r"[a-z0-9][a-z0-9.+-]{1,80}": NAME,
    r"([0-9]{1,9})-[0-9a-f]{8}": DIGITS,
    r"Unable to locate package ([a-z0-9.+-]{1,80})": ("Unable to locate package ", "Unable ", "a"),
    # What zig says of itself, and what pins it.
    r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?:[-+.][0-9A-Za-z.+-]{1,40})?": ("1", "1.1.1-", "1.1.1", "-"),
    r"info: [^\n]{0,200}-gnu[a-z0-9]{0,8}\.(2\.[0-9]{1,3})(?![0-9])": ("info: ", "-gnu", "-gnu.2.1"),
    r'"([A-Za-z0-9_.-]{1,60})"': ('"', '"a', '"a"'),
    r"^([a-z]{1,40})==([0-9.]{1,40}) ": ("a", "a==", "a==1", "a==1 \n"),
    # The name of a secret that is made.
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}": NAME,
    # A header in which a proxy says who visits; codes in addresses, which the access log leaves out.
    r"[A-Za-z][A-Za-z0-9-]{0,59}\Z": ("a", "X-", "-"),
    r"/(confirm|sign-in|unsubscribe|subscribe)/(?!mail\b)[^/?]+": ("/confirm/", "/sign-in/mail", "/subscribe/a", "a"),
    r"r?([0-9]{1,10})\Z": ("r", "0", "r0"),
    r"r([1-9][0-9]{0,9})\Z": ("r", "0", "r1"),
    r"[+-]?[0-9]{1,18}\Z": ("+", "0", "+0"),
    r"([0-9]+)\.([0-9]+)": ("0", "0.", "."),
    r"(?:120|175|180|210|215|230|670|730)[0-9]{3}|170(?:000|001|011|013)": ("1", "120", "170"),
    r"([0-9]{1,18})(?:-([A-Za-z0-9]{1,80}))?\Z": ("1", "1-", "1-a"),
    # The memory that a machine's owner gives.
    r"([0-9]{1,7}(?:\.[0-9]{1,3})?) ?(%|GiB|MiB)?": ("1", "1.", "1 ", "GiB"),
    # The hours of a machine's owner.
    r"(?:([A-Za-z]{3}[A-Za-z,-]{0,60}) )?([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})"
    r"(?: ([A-Za-z][\w+/-]{0,60}))?": ("Mon-", "Mon 0", "00:00-00:00 ", "00:00-00:00 a", "a"),
    # What deliveries of forges name: refs, branches, people.
    r"refs/[^\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]{1,245}": ("refs/", "refs/a", "a", " "),
    r"[^\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]{1,230}": ("a", "a ", "~"),
    r"[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,99}": NAME,
    # When triggers look, what they are called, and at which refs they look.
    r"(?:([A-Za-z]{3}[A-Za-z,-]{0,60}) )?([0-9]{1,2}):([0-9]{2}) ([A-Za-z][\w+/-]{0,60})": ("Mon-", "Mon 0", "00:00 a"),
    r"[A-Za-z0-9][A-Za-z0-9 ._*/+-]*": ("a", "a ", "a*"),
    r"[^\x00-\x20\x7f~^:?\[\\\ud800-\udfff]{1,200}": ("a", "*", "/a"),
    r"[!-~]{1,500}": ("a", "a/", "/"),
    r"[A-Za-z0-9.-]{1,253}": ("a", "#a", "."),
    "[1-9][0-9]{0,4}": ("1", "0", "1a"),
    "`+": ("`", "a`", "a"),
    r"[#&+!][!-+\--~]{1,49}": ("a", "#a", "."),
    r"[A-Za-z_\[\]][A-Za-z0-9_\[\]-]{0,29}": ("a", "#a", "."),
    r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}": ("a", "a/", "/"),
    r"[A-Za-z0-9_.-]{1,100}(?:/[A-Za-z0-9_.-]{1,100}){1,20}": ("a", "a/", "/"),
    r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,59}": ("a", "a/", "/"),
    r"\.\.|//|/\.|[/.]\Z|@\{|\.lock(?:/|\Z)": ("/", ".", "@", ".lock", "a/"),
    # The keys by which a configuration is signed, the files of its commit, and how its diff is shown.
    r'([A-Za-z-]{1,40})(?:="([^"]{0,1000})")?(?:,|\Z)': ("a", 'a="', 'a="b",', "a,"),
    r'(?:"[^"]*"|[^\s"])+': ("a", '"', '"a" ', 'a"'),
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(Z?)\Z": ("0", "20270101", "Z"),
    rb"(\d{6}) ([a-z]+) ([0-9a-f]{40}|[0-9a-f]{64}) +(\d+|-)\t(.+)": (
        "a", "100644 blob ", f"100644 blob {'a' * 40} ", "0",
    ),
    r"[^\t\x20-\x7e]": ("a", "\x1b", "é"),
    # What is on the transfer port and in the state directory.
    r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log(\.zst)?": ("1", "1-1", ".log"),
    r"([1-9][0-9]{0,17})-([0-9]{1,9})": ("1", "1-1"),
    r"([1-9][0-9]{0,17})-[0-9]{1,9}\.log(?:\.zst|\.idx)?": ("1", "1-1", ".log"),
    # A size as a setting says it.
    r"([0-9]{1,9}) ?(|[KMGT](?:i?B)?|B)": ("1", " ", "1KiB", "B"),
    r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log": ("1", "1-1", ".log"),
    r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log\.zst": ("1", "1-1", ".log.zst"),
    r"/uploads/([1-9][0-9]{0,17})/([0-9]{1,9})": ("/uploads/", "/uploads/1", "1/"),
    r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})": ("/logs/", "/logs/1", "1/"),
    r"/artifacts/([0-9a-f]{64})/([^/]*)": ("/artifacts/", "a", "/"),
    r"/sources/([1-9][0-9]{0,17})/([0-9]{1,9})(?:/(commit|tags))?": ("/sources/", "/sources/1", "1/", "/tags"),
    rb"/(?:uploads|sources|artifacts)(?:/.*)?|/logs/[^/]*/(?!(?:index|search)\Z).*": ("/logs/", "/artifacts", "/"),
    r"/logs/([1-9][0-9]{0,17})/([0-9]{1,9})/(index|search)": ("/logs/", "/logs/1", "1/", "/index"),
    # What a build says to the proxy of its sandbox, and hosts that recipes name.
    rb"([A-Z]{1,16}) ([!-~]{1,8192}) HTTP/1\.[01]\Z": ("A", "GET ", "!", " HTTP/1."),
    r"([^:/@\[\]]{1,253})(?::([0-9]{1,5}))?\Z": ("a", "a:", "1", ":1"),
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z": ("a", "a.", "a-", "-"),
    # Logs, whose lines are whatever a build writes.
    rb"\x1b\[[0-9;:]{0,40}[A-Za-z]": ("\x1b", "\x1b[", "0", "\x1b[0;", "\x1b[" + 40 * "0"),
    r"\x1b\[([0-9;:]{0,60})m": ("\x1b", "\x1b[", "0", "\x1b[0;", "\x1b[" + 60 * "0"),
    r"[;:]": (";", ":", "0"),
    rb"(?:^|[^A-Za-z0-9_-])(?:[Ee]rror|ERROR)(?:\[[A-Za-z0-9_:-]{1,40}\]| [A-Z]{1,4}[0-9]{1,5})?:"
    rb"|^[A-Za-z_][A-Za-z0-9_.]{0,200}(?:Error|Exception):"
    rb"|(?<![0-9] )\bFAILED\b(?!: 0\b)|--- FAIL:|\*\*\*Failed|^FAIL[:\t]|^ERROR "
    rb"|make(?:\[[0-9]{1,5}\])?: \*\*\* |^CMake Error|^npm ERR!|^fatal: |^panic: |panicked at "
    rb"|^Traceback \(most recent call last\):|: command not found$"
    rb"|undefined reference to |[Uu]ndefined symbol|multiple definition of |unresolved external "
    rb"|cannot find -l|ld returned [0-9]"
    rb"|Segmentation fault|\(core dumped\)|Assertion [`'(]|Assertion failed": (
        *("error", " error[", " error[a", "Error", "FAILED", "0 FAILED", "a", "make[1", ": ***", " error A1"),
    ),
    rb"(?:^|[^A-Za-z0-9_-])(?:[Ww]arning|WARNING)(?:\[[A-Za-z0-9_:-]{1,40}\]| [A-Z]{1,4}[0-9]{1,5})?:"
    rb"|[a-z]Warning: |^CMake Warning|^npm WARN": ("warning", " warning[", " warning[a", "aWarning", " warning A1"),
    r"(artifact|log|source)((?:\.(?:0|[1-9][0-9]{0,17})){4})\Z": ("log", ".0", ".10", "log.0"),
    # Keys and invitations.
    r"authority-([1-9][0-9]{0,5})\.pem": ("authority-", "1", ".pem"),
    r"(?P<where>[^/\s]+)/sha256:(?P<pin>[^/\s]+)/(?P<token>[A-Za-z0-9_-]{20,100})\Z": ("a", "/sha256:", "a/sha256:a/"),
    r"(?P<host>\[[^\]\s]*\]|[^:\[\]\s]+):(?P<port>[0-9]{1,5})\Z": ("[", "a:", "a", "[a]:"),
    # Names.
    r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,199}": NAME,
    r"[A-Za-z0-9][A-Za-z0-9.+:@/_-]{0,99}\Z": NAME,
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z": NAME,
    r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.zip\Z": NAME,
    r"[\w.+-]+": NAME,
    r"[a-z][a-z0-9_]{0,39}\Z": NAME,
    r"[A-Za-z0-9_.+-]{1,30}\Z": NAME,
    r"[A-Za-z0-9_.+:/=-]{1,80}\Z": NAME,
    r"[a-z0-9_]{1,20}(-[a-z0-9_.]{1,30}){1,3}\Z": ("a", "a-", "-a"),
    r"[^A-Za-z0-9_.-]+": ("a", "!", "a!"),
    r"[^A-Za-z0-9]+": ("a", "!", "a!"),
    r"\bb([1-9][0-9]{0,17})-([0-9a-f]{20})\b": ("b1", "b1-", "b", "b1-a"),
    # Addresses, hosts and URLs.
    r"(?!-)[A-Za-z0-9_+=&'~#/\u0080-\U0010ffff-]+(\.[A-Za-z0-9_+=&'~#/\u0080-\U0010ffff-]+)*\Z": ("a", "a.", "é", "-"),
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*(?![0-9]+\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z": (
        "a",
        "a.",
        "1.",
        "a-",
        "1",
    ),
    r"[\s<>(),;:\"]+": (" ", "a ", "@ ", "a@"),
    r"([\s<>(),;]+)": (" ", "a ", "@ ", "a@", "a"),
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z": ("a", "a-", "-"),
    r"[A-Za-z0-9._~-]{1,15}\Z": NAME,
    r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)\Z": ("a", "a:", "a:/", "a://", "/", "?"),
    r"(?:/[A-Za-z0-9._~/%-]*)?\Z": ("/", "/a", "/%"),
    r":([0-9]*)\Z": (":", ":1", "1"),
    r"://": (":", "://", "/"),
    r"(?!.*//)[A-Za-z0-9._/+@-]{1,60}\Z": ("a", "/", "a/", "//"),
    r"[A-Za-z0-9._+-]{1,24}\Z": NAME,
    r"https?://[!-~]+": ("http", "http://", "https://a"),
    r"(?:file|git|https?|ssh)://": ("file", "http", "ssh:", "://"),
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:@[A-Za-z0-9_.-]+)?:[^:]": ("a", "a@", "a@a", "a:", "@", "::"),
    r"([?&][\w-]{0,40}(?:token|key|secret|password|auth)=)[^&\s'\"]+": ("?", "?a", "&key=", "?key=a", "token", "a-"),
    r"https?://[^/@\s]+/[^@\s]*\Z": ("https://", "https://a", "a", "/", "https://a/", "@"),
    r"(https?://)([^/?#@:\s]+)(?::([^/?#@\s]*))?@([^/?#@\s]+)": ("http://", "http://a", "a", "a:", ":", "@", "a@"),
    r"(?<=://)[^/\s]+@": ("://", "://a", "a", "://a@", "@", ":", "://:"),
    r"(?P<scheme>svn|svn\+ssh|svn\+file|svn\+https?)://"
    r"(?:(?P<user>[^-/@:][^/@:]*)?(?P<password>:[^/@]*)?@)?"
    r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])?"
    r"(?P<port>:[0-9]{1,5})?"
    r"(?P<path>/.*)?\Z": ("svn", "svn://", "svn://a", "svn://a:", "a:", "svn://[", "/", ":1"),
    # Refs.
    r"\A\Z": ("a",),
    r"\A-": ("-",),
    r"[\x00-\x1f\x7f]": ("a",),
    r"\.\.": (".a", "a"),
    r"[ ~^:?*\[\\]": ("a",),
    r"@\{|\A@\Z": ("@", "{"),
    r"\A/|/\Z|//|\.\Z": ("/a", "a", ".", "."),
    r"(?:\A|/)\.|\.lock(?:/|\Z)": ("/", ".loc", ".lock", "."),
    r"[\ud800-\udfff]": ("a",),
    # What git, svn, compilers and the system say. Some of it was written by others.
    r"submodule\..*\.(?:url|active)\n": ("submodule.", ".url", "\n", ".active"),
    r"(?m)^[0-9a-f]{64}(?: |$)": ("a", "\n", "a\n"),
    rb'"(?:[^"\\]++|\\.)*+"?': ('"', '"\\"', "\\", '\\"', '"a', "a"),
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}": ("\\", "\\u", "\\ud800", "\\ud800\\udc0"),
    rb"\\u[dD][89a-fA-F]": ("\\", "\\u", "\\ud"),
    rb"([0-9a-f]{64}) ([0-9a-f]{64})\n\Z": ("a", " ", f"{'a' * 64} "),
    rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n": ("tree ", "a", "tree a"),
    rb"[0-7]+\Z": ("0", "8", "07"),
    rb"(?:\.git|git~1)[ .]*(?:[:\\].*)?\Z": (".git", " ", ".", ".git:", ":", "git~1."),
    r"submodule\.(.*)\.(path|url|update)\Z": ("submodule.", ".url", ".", ".path"),
    r"\.\.?(?:/|\Z)": (".", "/", "./", "../"),
    r"[/\\]": ("/", "\\", "a"),
    r"\\(.)": ("\\", "\\\\", "a", "\\a"),
    rb"\\([0-7]{3})": ("\\", "\\0", "\\04", "\\040"),
    r"missing object|[Oo]bject does not exist|\[(?:404|410|422)\]|invalid hash": ("missing objec", "[40", "object"),
    r"^(?:[Ee]rror|batch|fatal|LFS)\b": ("error", "Error", "batch", "e"),
    rb"eol=crlf|ident|filter|working-tree-encoding": ("eol=", "iden", "filte", "working-tree-"),
    rb"version https://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec)/v1\n"
    rb"(?:[^\n]*\n)*?oid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n?": (
        "version https://git-lfs.github.com/spec/v1\n",
        "\n",
        "a\n",
        "oid sha256:",
        f"oid sha256:{'a' * 64}\nsize 0",
    ),
    r"(?m)^([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/(?:heads|tags|pins|fetched)/\S+)$": ("a", "\n", f"{'a' * 40} refs/"),
    r"([0-9a-f]{40}(?:[0-9a-f]{24})?)\n?\Z": ("a", "\n"),
    r"(?m)^dangling commit ([0-9a-f]+)$": ("dangling commit ", "dangling commit a\n", "a", "\n"),
    r"([0-9a-f]{40}(?:[0-9a-f]{24})?) (refs/(?:pins|tags|shallow)/\S+)\n\Z": ("a", "\n", f"{'a' * 40} refs/pins/"),
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|TERM|PYTHON.*|LD_LIBRARY_PATH|LD_PRELOAD": (
        "LANG",
        "LC_",
        "PYTHON",
    ),
    r"(GIT|SVN|SSH|SSL|XDG|CURL|KRB5)_?.*|([A-Za-z]+_)?(proxy|PROXY)": ("GIT", "a", "a_", "_", "proxy"),
    r"PASS(?!IVE)|SECRET|TOKEN|CREDENTIAL|_KEY\Z|API_?KEY|COOKIE": ("PASS", "PASSIVE", "_KEY", "API_", "API_KE"),
    r"GIT_(?!SSH|SSL_|HTTP_|PROXY_|EXEC_PATH|PYTHON_)": ("GIT_", "SSH"),
    r"LC_|LANG|SVN_(?!SSH\Z)|APR_": ("SVN_", "LANG"),
    r"svn: (?:warning: )?[EW]([0-9]{6}): ": ("svn: ", "svn: warning: ", "svn: E00000"),
    r"(glibc)\s+([0-9][0-9.]*)\S*": ("glibc ", " ", "0", "0.", "a"),
    r"^Version ([0-9][0-9.]*)": ("Version ", "\n", "Version 0\n"),
    r"^musl libc": ("musl ", "\n"),
    r"^flags\s*:(.*)$": ("flags", " ", "\n", "flags:", "flags \n", "flags\n\n"),
    r"row \d+ missing from index|wrong # of entries in index": ("row ", "row 1", "row 1 ", "1", "wrong # "),
    r"^[ \t]*buildtool (libc|cc) ([a-z]+)((?: +[0-9]{1,9}){1,4})[ \t]*$": (
        "\n", " ", " \n", "buildtool cc a", " 1", "buildtool cc a 1 ", "1 ", "\t",
    ),
    r"-musl\w*$": ("-musl", "-", "a"),
    r"\berror\b|cannot find|not found": ("error", "cannot ", "not "),
    r"\b([0-9]+)\b": ("0", "0a", "a", " "),
    r"\([^()]*\)": ("(", ")", "(a", "a"),
    r"gcc|GCC|Free Software Foundation": ("gc", "Free "),
    rb"^\.": (".", "\n", ".\n"),
    # What is made of an integrator's own sources.
    r"\$[({](\w+)[)}]": ("$", "$(", "$(a", "a", "$(a)"),
    trial._TIME.pattern: ("0", "00:", "00:00:0", "20", "2000-", "Jan ", "Jan 1", " "),
    r"[A-Za-z0-9_-]{1,40}": ("a", "_", "-a"),
    # Text for people, whoever wrote it.
    r"[^\x20-\x7e]": ("a", "\x00", "é"),
    text._SEQUENCES.pattern: (
        "\x1b", "\x1b[", "\x1b[0", "\x1b]", "\x1b]a", "\x9b0", "\x9b ", "\x1b ",
        "a", "\x90", "\x90a", "0", " ", "\x1bP\x07",
    ),
    r"(?<![\w.])/(?:[^\s/:]+/)*": ("/", "/a", " /a", ":/a", "a/", "a", "//", "/a/:"),
}  # fmt: skip
"""What an expression may meet that takes it longest: each is repeated, alone and before and behind something else."""

CHOSEN = {
    "buildtool/adapters/host/programs.py: number": "from a short table of how tools tell their version",
    "buildtool/demo/local_farm.py: pattern": "the demo looks for its own programs' lines",
    "buildtool/buildserver/blame.py: pattern": "the integrator's, on the build server, over the last 8 KiB of a log",
    "buildtool/project/recipe.py: pattern": "only compiled, to see whether it is one",
    "buildtool/buildserver/masking.py: words": "the donor's secrets to the letter, at most 256 of 1 KiB",
    "buildtool/model/options.py: self.pattern": "the integrator's, over texts of at most 200 characters",
}
"""Those that are made while the program runs, and why they need not be here."""


@cache
def found() -> dict[str | bytes, Expression]:
    """Return the expressions that there are; by the tests alone, since each process that collects them would look."""
    return {expression.key: expression for expression in expressions()}


def quickest(act: Callable[[], object]) -> float:
    """Return how many seconds of the processor something takes, the least of several."""
    least = float("inf")
    for _ in range(5):
        began = time.thread_time()
        act()
        least = min(least, time.thread_time() - began)
        if least < AT_ONCE:
            break
    return least


def grows(act: Callable[[str], object], made: Callable[[int], str]) -> float:
    """Return how many times as long twice as much text takes; 0 where even much of it takes no time to speak of."""
    for size in SIZES:
        after = quickest(partial(act, made(2 * size)))
        if after >= AT_ONCE:
            return after / quickest(partial(act, made(size)))
    return 0.0


def texts(unit: str) -> list[Callable[[int], str]]:
    """Return ways to make long texts of a part that is repeated."""
    return [
        lambda size: unit * (size // len(unit)),
        lambda size: unit * (size // len(unit)) + "\N{SNOWMAN}\n!",
        lambda size: "a1 " + unit * (size // len(unit)) + " ",
        lambda size: unit + "a" * size + unit,
        lambda size: unit + "0" * size + "!",
    ]


def applied(expression: Expression, method: str) -> Callable[[str], object]:
    pattern = expression.pattern
    assert pattern is not None

    def apply(said: str) -> object:
        subject: str | bytes = said.encode() if isinstance(pattern.pattern, bytes) else said
        act = getattr(pattern, method)
        if method in ("sub", "subn"):
            return act("" if isinstance(subject, str) else b"", subject)
        found = act(subject)
        return list(found) if method == "finditer" else found

    return apply


def test_every_expression_is_registered_here_and_nothing_else_is() -> None:
    """A new one comes into ``WORST`` with the parts of which the texts are made that take it longest."""
    new = [f"{one.place}: {key!r}" for key, one in found().items() if key not in WORST and key not in CHOSEN]
    assert new == [], "these are not registered in WORST"
    assert [key for key in (*WORST, *CHOSEN) if key not in found()] == [], "these there are no more"
    assert all(found()[key].pattern is None for key in CHOSEN)


@pytest.mark.parametrize("key", WORST, ids=lambda key: str(key)[:40].encode("unicode_escape").decode())
def test_twice_as_much_text_takes_twice_as_long_and_not_four_times(key: str | bytes) -> None:
    expression = found()[key]
    for method in expression.methods:
        for unit in WORST[key]:
            for made in texts(unit):
                assert grows(applied(expression, method), made) < TIMES, (method, unit, made(20))


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "text.printable": text.printable,
    "text.one_line": text.one_line,
    "text.block": lambda said: text.block(said, len(said)),
    "text.log_line": text.log_line,
    "addresses.find_address": find_address,
    "words.without_addresses": words.without_addresses,
    "plain_text.wrapped": lambda said: plain_text.wrapped(said[:4_000]),
}
UNITS = ("a", "a ", "@", "a@", "a@b ", " ", "-", "a-", "\x1b[", "\x1b]a", "\t", "\r", "\n", "é", "<", "a.", "\u202e")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_made_of_texts_for_people_grows_no_faster_than_they_do(name: str) -> None:
    for unit in UNITS:
        for made in texts(unit):
            assert grows(FUNCTIONS[name], made) < TIMES, (unit, made(20))


def test_the_measure_tells_what_is_quadratic_from_what_is_linear() -> None:
    quadratic = re.compile(r"[^\s<>(),;]+@[^\s<>(),;]+")
    assert grows(quadratic.search, lambda size: "a" * size) > TIMES
    assert grows(re.compile(r"a+b").match, lambda size: "a" * size) < TIMES
    assert {"match", "search", "sub"} <= METHODS
