"""A config.py becomes Settings, or one clear line that names the file and what is wrong."""

import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.description import describe
from buildtool.configuration.finding import CONFIG_VARIABLE, find_config
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.settings import Settings, check_projects, load_settings
from buildtool.errors import ConfigurationError, EmptySecret, UnknownProject
from buildtool.model.access.ceilings import NO_CEILINGS, USUAL_CEILINGS
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech
from buildtool.model.project_options import ProjectOptions
from buildtool.project.definition import Project
from buildtool.project.recipe import Plan, Recipe

PROJECT = """
from buildtool.project import *
project = Project({name!r}, ProjectOptions((), ()), Recipe(1, {plan}), lambda source: "https://git.example/x.git")
"""
SINGLE = [
    "host", "bind", "pb_port", "transfer_port", "web_port", "public_url", "transfer_url", "lease", "names_kept"
]  # fmt: skip
MAIL = ["host", "port", "sender", "starttls", "verify", "per_address", "per_asker", "implicit_tls"]
PLAN = "lambda wanted: Plan([Command(['make'])], ['x'])"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (CONFIG_VARIABLE, *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)


def write(directory: Path, text: str, name: str = "config.py") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)  # as a secret has to be
    return path


def project(directory: Path, file: str = "one.py", name: str = "one", plan: str = PLAN) -> str:
    """Write a project's configuration, and return what loads it."""
    write(directory, PROJECT.format(name=name, plan=plan), file)
    return f"load({file!r})"


def wrong(path: Path) -> str:
    """Return the one line that a configuration is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    line = str(caught.value)
    assert line.startswith(str(path.parent))
    assert "\n" not in line
    return line.removeprefix(f"{path.parent}/")


def test_limits_hold_where_keys_are_needed_or_where_they_are_said_and_the_check_prints_them(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "")).limits == USUAL_CEILINGS
    trusting = load_settings(write(tmp_path, "trusted = 'loopback'"))
    assert trusting.limits == NO_CEILINGS
    assert "limits          none" in describe(trusting)
    some = "trusted = 'everybody'\nlimits = {'open_requests': 7, 'connections': (1, 2, None)}"
    told = describe(load_settings(write(tmp_path, some)))
    assert "limit           open_requests: 7, any, any" in told
    assert "limit           connections: 1, 2, any" in told
    assert "limit           explanations_a_minute: 120, 240, 600" in describe(load_settings(write(tmp_path, "")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("limits = 5", "it is a dictionary"),
        ("limits = {'open': 5}", "there is no limit 'open'"),
        ("limits = {'connections': -1}", "a whole number from 1 on"),
        ("confirmed = '@example.org'", "it lists addresses and domains"),
        ("confirmed = ['example.org']", "it lists addresses and domains"),
        ("logins = [7]", "is no text"),
        ("proxies = '127.0.0.1'", "it is a list of at most 32 addresses and networks"),
        ("proxies = ['10.0.0.1/8']", "has host bits set"),
        ("proxy_identity = 'X-User'", "it is a dictionary such as"),
        ("proxy_identity = {'header': 'X-User'}", "no proxy may say in X-User who visits: name yours in proxies"),
        ("access_log = 7", "access_log = 7 is not usable"),
    ],
)
def test_what_is_wrong_about_limits_and_addresses_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in wrong(write(tmp_path, text))


def test_confirmed_addresses_and_logins_are_addresses_and_domains(tmp_path: Path) -> None:
    said = load_settings(write(tmp_path, "confirmed = ('@Example.org', 'ann@example.net')\nlogins = ()"))
    assert said.confirmed.has("ben@example.org")
    assert not said.confirmed.has("ben@example.net")
    assert not said.logins.has("ben@example.org")
    assert load_settings(write(tmp_path, "")).logins.has("ben@example.org")
    assert "logins          none" in describe(said)


# --- what is understood -----------------------------------------------------------------------------------


def test_an_empty_configuration_has_usable_defaults(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""))
    assert (settings.host, settings.bind) == ("127.0.0.1", "127.0.0.1")
    assert (settings.pb_port, settings.transfer_port, settings.web_port) == (23432, 23433, 8080)
    assert (settings.public_url, settings.transfer_url) == ("https://127.0.0.1:23432",) * 2
    assert settings.state_dir == tmp_path / "var/metaserver"
    assert (settings.mail, settings.projects) == (None, ())


def test_the_checkouts_own_configuration_is_sound() -> None:
    """What a clone comes with loads, offers testproject, and every recipe answers."""
    settings = load_settings()
    assert settings.path == Path(__file__).resolve().parents[2] / "config.py"
    assert [one.name for one in settings.projects] == ["testproject"]
    check_projects(settings)


def test_urls_follow_from_host_and_ports_unless_they_are_said(tmp_path: Path) -> None:
    text = "host = '::1'\npb_port = 443\nweb_port = 81\ntransfer_url = 'https://files.example/x/'\n"
    said = load_settings(write(tmp_path, text))
    assert said.public_url == "https://[::1]:443"
    assert load_settings(write(tmp_path, f"{text}trusted = 'loopback'")).public_url == "http://[::1]:81"
    assert said.transfer_url == "https://files.example/x"


def test_a_name_as_host_listens_locally_until_bind_says_more(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "host = 'farm.example.org'")).bind == "127.0.0.1"
    assert load_settings(write(tmp_path, "host = 'farm.example.org'\nbind = '0.0.0.0'")).bind == "0.0.0.0"


def test_helpers_in_the_file_are_no_settings(tmp_path: Path) -> None:
    """Imports, functions, classes and names with an underscore are the file's own."""
    helpers = "import os\nfrom pathlib import Path\n_port = 9000\ndef later(): return _port\nclass A: pass\n"
    text = f"{helpers}web_port = later()"
    assert load_settings(write(tmp_path, text)).web_port == 9000


def test_the_file_is_found_by_argument_then_variable_then_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current directory's config.py is never looked at."""
    said, variable = write(tmp_path, "", "said.py"), write(tmp_path, "", "variable.py")
    write(tmp_path, "1/0", "config.py")
    monkeypatch.chdir(tmp_path)
    assert find_config().parent == Path(__file__).resolve().parents[2]
    monkeypatch.setenv(CONFIG_VARIABLE, str(variable))
    assert find_config() == variable
    assert find_config(Path("said.py")) == said


def test_nothing_is_left_behind_by_executing_a_file(tmp_path: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    load_settings(write(tmp_path, f"import sys\nsys.path.insert(0, '/nowhere')\nprojects = [{project(tmp_path)}]"))
    assert sys.path == path
    assert set(sys.modules) == modules
    assert not list(tmp_path.rglob("__pycache__"))


def test_the_file_knows_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "from pathlib import Path\nstate_dir = Path(__file__).parent / 'state'")
    assert load_settings(path).state_dir == tmp_path / "state"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("state_dir = build_dir = 'var'", "build_dir = {0}/var is state_dir = {0}/var: "),
        ("state_dir = 'var'\nbuild_dir = 'var/builds'", "build_dir = {0}/var/builds lies inside state_dir = {0}/var: "),
        ("state_dir = 'linked'\nbuild_dir = 'real/x/..'", "build_dir = {0}/real/x/.. is state_dir = {0}/linked: "),
    ],
)
def test_builds_are_not_made_among_what_must_not_be_lost(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    said = wrong(write(tmp_path, text))
    assert said == f"config.py: {words.format(tmp_path)}build servers need a directory outside of it"
    assert load_settings(write(tmp_path, "state_dir = 'var/state'\nbuild_dir = 'var'")).build_dir == tmp_path / "var"


def test_projects_are_loaded_relative_to_the_file_that_loads_them(tmp_path: Path) -> None:
    """One file may describe several, and may itself load others."""
    project(tmp_path, "a/b/one.py", "one")
    write(tmp_path, "projects = [load('b/one.py')]", "a/list.py")
    project(tmp_path, "two.py", "two")
    settings = load_settings(write(tmp_path, "projects = [load('a/list.py'), load('two.py')]"))
    assert [one.name for one in settings.projects] == ["one", "two"]
    assert settings.project("two") is settings.projects[1]


def test_a_project_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, f"projects = [{project(tmp_path)}]"))
    with pytest.raises(UnknownProject, match=r"unknown project 'three'; there is one$"):
        settings.project("three")


def test_the_environment_takes_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that several deployments can run from one file; URLs follow."""
    path = write(tmp_path, "host = 'a'\npb_port = 1\nstate_dir = 'x'")
    for name, value in {
        "BUILDTOOL_HOST": "127.0.0.2", "BUILDTOOL_PB_PORT": "2", "BUILDTOOL_WEB_PORT": "3",
        "BUILDTOOL_TRANSFER_PORT": "4", "BUILDTOOL_STATE_DIR": "/y", "BUILDTOOL_BUILD_DIR": "/z",
        "BUILDTOOL_MAIL_HOST": "mail", "BUILDTOOL_MAIL_PORT": "25",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings = load_settings(path)
    assert (settings.host, settings.bind, settings.pb_port) == ("127.0.0.2", "127.0.0.2", 2)
    assert (settings.public_url, settings.transfer_url) == ("https://127.0.0.2:2",) * 2
    assert (settings.state_dir, settings.build_dir) == (Path("/y"), Path("/z"))
    assert settings.mail == MailSettings("mail", 25, "buildtool@localhost")


def test_host_may_be_several_addresses_and_endpoint_strings_beside_which_files_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "host = ['TLS:farm.example.org:443:trustRoots=roots', 'tcp:[2001:db8::1]:1']\npb_port = 7")
    settings = load_settings(path)
    roots = str(tmp_path / "roots")
    assert settings.addresses == (
        MetaserverAddress("farm.example.org", 443, Speech.TLS, roots),
        MetaserverAddress("2001:db8::1", 1, Speech.PLAIN),
    )
    assert (settings.host, settings.pb_port) == ("farm.example.org", 7)
    assert {"farm.example.org", "2001:db8::1"} <= set(settings.hosts)
    monkeypatch.setenv("BUILDTOOL_HOST", "a,b")
    assert load_settings(path).addresses == (MetaserverAddress("a", 7), MetaserverAddress("b", 7))
    monkeypatch.setenv("BUILDTOOL_HOST", "tls:a")
    assert "$BUILDTOOL_HOST = 'tls:a' has no port" in wrong(path)


def test_an_override_that_is_no_port_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDTOOL_WEB_PORT", "eighty")
    assert "$BUILDTOOL_WEB_PORT = 'eighty' is not usable" in wrong(write(tmp_path, ""))


@given(st.text(max_size=300))
def test_any_text_is_settings_or_a_configuration_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A file of any content at all never raises anything else."""
    path = tmp_path_factory.mktemp("config") / "config.py"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        settings: Settings | str = load_settings(path)
    except ConfigurationError as error:
        settings = str(error)
    assert isinstance(settings, Settings) or (settings.startswith(str(path)) and "\n" not in settings)


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BUILDTOOL_HOST", "http://farm", "$BUILDTOOL_HOST = 'http://farm' is not usable: it is a URL; say 'farm'"),
        ("BUILDTOOL_BIND", "farm", "$BUILDTOOL_BIND = 'farm' is not usable: it is a name"),
        ("BUILDTOOL_PUBLIC_URL", "farm", "$BUILDTOOL_PUBLIC_URL = 'farm' is not usable: it does not begin with http"),
        ("BUILDTOOL_TRANSFER_URL", "http://[", "$BUILDTOOL_TRANSFER_URL = 'http://[' is not usable: its bracket is"),
        ("BUILDTOOL_MAIL_HOST", "mail:25", "$BUILDTOOL_MAIL_HOST = 'mail:25' is not usable: a port is no part of it"),
        ("BUILDTOOL_MAIL_SENDER", "farm", "$BUILDTOOL_MAIL_SENDER = 'farm' is not usable: it is an address such as"),
    ],
)
def test_a_place_that_the_environment_names_wrongly_is_refused_under_the_variables_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(tmp_path, "host = 'other'"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("trusted", "bind", "url"),
    [
        ("nobody", "127.0.0.1", "https://a:23432"),
        ("loopback", "127.0.0.1", "http://a:23433"),
        ("loopback", "0.0.0.0", "https://a:23432"),
        ("everybody", "0.0.0.0", "http://a:23433"),
    ],
)
def test_transfers_are_on_the_control_port_where_keys_say_who_is_there(
    tmp_path: Path, trusted: str, bind: str, url: str
) -> None:
    assert load_settings(write(tmp_path, f"host = 'a'\ntrusted = {trusted!r}\nbind = {bind!r}")).transfer_url == url


def test_hosts_are_read_in_one_way_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDTOOL_MAIL_HOST", "Bücher.example. ")
    said = load_settings(write(tmp_path, "host = '[::1]'\nbind = '[::]'\npublic_url = 'https://Bücher.example/'"))
    assert (said.host, said.bind) == ("::1", "::")
    assert said.public_url == "https://xn--bcher-kva.example"
    assert said.transfer_url == "https://[::1]:23432"
    assert said.mail is not None
    assert said.mail.host == "xn--bcher-kva.example"


WRONG = {
    "pb_prot = 1": ": unknown setting 'pb_prot': did you mean 'pb_port'? (a helper's name starts with _)",
    "web_port = '80'": ": web_port = '80' is not usable: a port is a whole number from 1 to 65535",
    "web_port = 0": ": web_port = 0 is not usable: a port is a whole number from 1 to 65535",
    "web_port = 65536": ": web_port = 65536 is not usable: a port is a whole number from 1 to 65535",
    "web_port = True": ": web_port = True is not usable: a port is a whole number from 1 to 65535",
    "web_port = 23432": ": pb_port and web_port are both 23432: each needs its own port",
    "host = 1": ": host = 1 is not usable: it is not text; say the name or address of a machine",
    "host = 'http://x'": ": host = 'http://x' is not usable: it is a URL; say 'x'",
    "host = 'farm:8080'": ": host = 'farm:8080' is not usable: a port is no part of it; say 'farm', and pb_port = 8080",
    "bind = 'farm'":
        ": bind = 'farm' is not usable: it is a name; say an IP address of this machine, or '0.0.0.0' for all of IPv4",
    "public_url = 'farm'":
        ": public_url = 'farm' is not usable: it does not begin with http:// or https://; "
        "say a URL such as http://farm.example.org:8080",
    "public_url = 'http://['":
        ": public_url = 'http://[' is not usable: its bracket is not closed; "
        "say a URL such as http://farm.example.org:8080",
    "public_url = 5":
        ": public_url = 5 is not usable: it is not text; say a URL such as http://farm.example.org:8080",
    "transfer_url = 'http://x:0'":
        ": transfer_url = 'http://x:0' is not usable: a port is a number from 1 to 65535; "
        "say a URL such as http://farm.example.org:8080",
    "mail = {'host': 'mail.example:587', 'sender': 'f@x'}":
        ": mail: host = 'mail.example:587' is not usable: a port is no part of it; say 'mail.example', and port = 587",
    "title = ''": ": title = '' is not usable: it is a line of at most 60 characters",
    "title = 'x' * 61": f": title = '{'x' * 61}' is not usable: it is a line of at most 60 characters",
    "title = 'a\\u202eb'": ": title = 'a\\u202eb' is not usable: it is a line of at most 60 characters",
    "title_url = 'javascript:alert(1)'":
        ": title_url = 'javascript:alert(1)' is not usable: it does not begin with http:// or https://; "
        "say a URL such as http://farm.example.org:8080",
    "title_url = 'https://x/?\"<b>'":
        ": title_url = 'https://x/?\"<b>' is not usable: behind its path is a character that belongs quoted",
    "contact = 'ask me'":
        ": contact = 'ask me' is not usable: it is an e-mail address such as farm@example.org, or the URL of a page",
    "contact = 'javascript://x%0aalert(1)'":
        ": contact = 'javascript://x%0aalert(1)' is not usable: it is an e-mail address such as farm@example.org, "
        "or the URL of a page",
    "contact = 7":
        ": contact = 7 is not usable: it is an e-mail address such as farm@example.org, or the URL of a page",
    "state_dir = None": ": state_dir = None is not usable: it is a path",
    "state_dir = 'a\\0b'": ": state_dir = 'a\\x00b' is not usable: it is a path",
    "state_dir = '\\ud800'": ": state_dir = '\\ud800' is not usable: it is a path",
    "lease = 1": ": lease = 1 is not usable: it is a whole number of seconds from 2 to 3600",
    "lease = 60.0": ": lease = 60.0 is not usable: it is a whole number of seconds from 2 to 3600",
    "build_dir = ''": ": build_dir = '' is not usable: it is a path",
    "projects = 5": ": projects is a list such as [load('testproject/config.py')]",
    "projects = ['x']": ": projects holds 'x', which is not a Project",
    "host = (": ":1: '(' was never closed",
    "\nhost = 1 / 0": ":2: ZeroDivisionError: division by zero",
    "def f():\n    raise OSError('a\\nb')\nf()": ":2: OSError: a b",
    "import sys\nsys.exit(3)": ":2: the configuration ended the program",
    "import no_such_module": ":1: ModuleNotFoundError: No module named 'no_such_module'",
    "load('none.py')": ":1: load(): there is no {dir}/none.py",
    "load(5)": ":1: load() takes the path of a project's configuration, not 5",
    "load('config.py')": ": loads itself",
    "from buildtool.project import *\nchoice('x', [])": ":2: option x is a choice without choices",
    "mail = 'mail.example'":
        ": mail = 'mail.example' is not usable: it is None or a dictionary with host, port and sender",
    "mail = {'host': 'x'}": ": mail: sender is missing",
    "mail = {'hots': 'x'}": ": mail: unknown setting 'hots': did you mean 'host'?",
    "mail = {'host': 'x', 'sender': 'farm'}":
        ": mail: sender = 'farm' is not usable: it is an address such as farm@example.org",
    "mail = {'host': 'x', 'sender': 'a..b@example.org'}":
        ": mail: sender = 'a..b@example.org' is not usable: it is an address such as farm@example.org",
    "mail = {'host': 'x', 'sender': 'f@x', 'starttls': 'yes'}":
        ": mail: starttls = 'yes' is not one of never, opportunistic, required",
    "mail = {'host': 'x', 'sender': 'f@x', 'verify': 1}": ": mail: verify = 1 is not True or False",
    "mail = {'host': 'x', 'sender': 'f@x', 'bounces': 'farm@x'}":
        ": mail: bounces = 'farm@x' is not usable: it is an address with {{id}} before the @, such as "
        "farm-bounces+{{id}}@example.org",
    "mail = {'host': 'x', 'sender': 'f@x', 'implicit_tls': 1}": ": mail: implicit_tls = 1 is not True or False",
    "mail = {'host': 'x', 'sender': 'f@x', 'port': 465, 'starttls': 'required'}":
        ": mail: starttls is not spoken where TLS begins at once: leave it out, or set implicit_tls = False",
    "mail = {'host': 'x', 'sender': 'f@x', 'key_file': 'k.pem'}":
        ": mail: key_file goes with certificate_file, which is missing",
    "mail = {'host': 'x', 'sender': 'f@x', 'starttls': 'never', 'certificate_file': 'c.pem'}":
        ": mail: certificate_file is of no use without TLS, and starttls is never",
    "mail = {'host': 'x', 'sender': 'f@x', 'password': 'hunter2'}":
        ": mail: a password does not stand in the configuration: use password_file or password_env",
    "mail = {'host': 'x', 'sender': 'f@x', 'username': 'f'}":
        ": mail: username goes with password_file or password_env, and neither without the other",
}  # fmt: skip
"""What stands in a file, and what follows its name in the line that refuses it."""


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    assert wrong(write(tmp_path, text)) == "config.py" + WRONG[text].format(dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Odd(BaseException): pass\nraise Odd('boo')", "Odd: boo"),
        ("class Dumb(Exception):\n    def __str__(self): raise ValueError\nraise Dumb", "Dumb"),
        ("raise ValueError('x' * 100_000)", "ValueError: xxx"),
        ("#" * 2_000_000, "more than"),
    ],
)
def test_whatever_a_file_raises_is_one_line_of_bounded_length(tmp_path: Path, text: str, said: str) -> None:
    line = wrong(write(tmp_path, text))
    assert said in line
    assert len(line) < 1000


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes to, or a device that never ends, would stop the start without a word."""
    pipe = tmp_path / "config.py"
    os.mkfifo(pipe)
    assert "no file" in wrong(pipe)
    assert "no file" in wrong(Path("/dev/zero"))
    os.mkfifo(tmp_path / "secret")
    for secret in ("secret", "/dev/zero"):
        with pytest.raises(EmptySecret, match="cannot be read: it is no file"):
            load_settings(write(tmp_path, LOGIN % f"'password_file': {secret!r}", "farm.py"))


UNSAYABLE = """
class Odd(str):
    def __repr__(self): raise ValueError
    __str__ = __repr__
class Loud(dict):
    def __repr__(self): return "\\x1b[31mred" * 1000
"""


@pytest.mark.parametrize("value", ["10 ** 5000", "-10 ** 400", "Odd('a b')", "Odd('\\n')", "Loud()", "[[0] * 10 ** 5]"])
@pytest.mark.parametrize("setting", [*SINGLE, "projects", "mail", *MAIL])
def test_a_value_that_cannot_be_written_or_is_long_is_refused_in_one_short_line(
    tmp_path: Path, setting: str, value: str
) -> None:
    said = f"{setting} = {value}" if setting not in MAIL else f"mail = {{**MAILER, {setting!r}: {value}}}"
    said = said if setting != "projects" else f"projects = [{value}]"
    line = wrong(
        write(tmp_path, f"{UNSAYABLE}_mailer = {{'host': 'x', 'sender': 'f@x'}}\n" + said.replace("MAILER", "_mailer"))
    )
    assert line.isprintable()
    assert len(line) < 400


@pytest.mark.parametrize("port", ["0", "000000080", "1234500000000000000000", "1" * 5000, "65536", " 5", "٣٣"])
def test_a_port_in_the_environment_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """However many digits there are, and whatever counts as one elsewhere."""
    monkeypatch.setenv("BUILDTOOL_PB_PORT", port)
    line = wrong(write(tmp_path, ""))
    assert f"$BUILDTOOL_PB_PORT = '{port[:10]}" in line
    assert len(line) < 400


def test_an_error_in_a_project_names_its_own_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, "\n\nproject = undefined", "project/config.py")
    line = wrong(write(tmp_path, "projects = [load('project/config.py')]"))
    assert line == "project/config.py:3: NameError: name 'undefined' is not defined"


def test_a_project_file_without_a_project_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "prject = 1", "project.py")
    line = wrong(write(tmp_path, "projects = [load('project.py')]"))
    assert line == "project.py: a project's configuration sets either project or projects"


def test_two_projects_of_one_name_are_refused(tmp_path: Path) -> None:
    loads = f"[{project(tmp_path, 'a.py')}, {project(tmp_path, 'b.py')}]"
    assert wrong(write(tmp_path, f"projects = {loads}")) == "config.py: projects: two are named 'one'"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("confirm_failures=-1", "confirm_failures = -1 is not a whole number from 0 to 9"),
        ("time_limit='1h'", "time_limit = '1h' is not a number above 0"),
        ("client_checkers=[5]", "client_checkers = 5 is not a function"),
        ("policy={'tries': 3}", "its policy has an unknown setting"),
    ],
)
def test_a_project_with_a_wrong_part_is_refused(tmp_path: Path, change: str, said: str) -> None:
    text = f"from buildtool.project import *\nimport attrs\nprojects = [attrs.evolve({project(tmp_path)}, {change})]"
    assert said in wrong(write(tmp_path, text))


def test_a_file_that_is_not_there_is_named_with_what_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong(tmp_path / "config.py") == "config.py: there is no such configuration file (named by --config)"
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"is a directory; \$BUILDTOOL_CONFIG must name"):
        load_settings()


def test_a_name_that_no_file_can_have_is_refused_with_the_reason_before_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^what --config names cannot be read: File name too long: /"):
        load_settings(tmp_path / ("x" * 300))


@pytest.mark.parametrize("body", ["print('hello')", "import os; os.write(1, b'hello\\n')"])
def test_what_a_file_prints_is_no_part_of_a_program_s_answer(
    tmp_path: Path, body: str, capfd: pytest.CaptureFixture[str]
) -> None:
    load_settings(write(tmp_path, body))
    print("the answer", flush=True)
    assert capfd.readouterr() == ("the answer\n", "hello\n")


# --- secrets ----------------------------------------------------------------------------------------------

LOGIN = "mail = {'host': 'x', 'sender': 'f@x', 'username': 'f', %s}"


def test_a_password_is_read_from_a_file_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown nowhere, and with a password encryption is required unless the operator says otherwise."""
    write(tmp_path, "hunter two\n", "secret")
    monkeypatch.setenv("FARM_PASSWORD", "hunter two")
    for where in ("'password_file': 'secret'", "'password_env': 'FARM_PASSWORD'"):
        settings = load_settings(write(tmp_path, LOGIN % where))
        assert settings.mail is not None
        assert (settings.mail.password, settings.mail.starttls, settings.mail.port) == ("hunter two", "required", 587)
        assert "hunter" not in repr(settings)
        assert "hunter" not in "\n".join(describe(settings))


@pytest.mark.parametrize("content", ["", "\n", "  \n", None])
def test_a_missing_or_empty_secret_stops_the_start_with_its_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        write(tmp_path, content, "secret")
    with pytest.raises(EmptySecret, match=f"the secret file {tmp_path}/secret (is empty|cannot be read)"):
        load_settings(write(tmp_path, LOGIN % "'password_file': 'secret'"))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_secret_that_everybody_can_read_or_change_stops_the_start_with_its_name(tmp_path: Path, mode: int) -> None:
    write(tmp_path, "hunter two\n", "secret").chmod(mode)
    config = write(tmp_path, LOGIN % "'password_file': 'secret'")
    with pytest.raises(EmptySecret, match=f"mail: the secret file {tmp_path}/secret is open to everybody") as told:
        load_settings(config)
    assert "hunter" not in str(told.value)
    assert load_settings(config, secrets=False).mail is not None  # who does not read it is not told of it
    (tmp_path / "secret").chmod(0o640)  # a group may be whose a secret is
    assert load_settings(config).mail is not None


def test_a_login_of_an_origin_that_everybody_can_read_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "joe:pass\n", "login").chmod(0o644)
    with pytest.raises(EmptySecret, match=f"origin_logins: the secret file {tmp_path}/login is open to everybody"):
        load_settings(write(tmp_path, "origin_logins = {'https://git.example.org/': 'login'}"))


def test_an_empty_variable_is_an_empty_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_PASSWORD", "")
    with pytest.raises(EmptySecret, match="environment variable FARM_PASSWORD is missing or empty"):
        load_settings(write(tmp_path, LOGIN % "'password_env': 'FARM_PASSWORD'"))


def test_port_465_begins_with_tls_and_the_other_way_round(tmp_path: Path) -> None:
    for said, port, implicit in (
        ("'port': 465", 465, True),
        ("'implicit_tls': True", 465, True),
        ("'port': 465, 'implicit_tls': False", 465, False),
        ("'port': 25", 25, False),
    ):
        mail = load_settings(write(tmp_path, f"mail = {{'host': 'x', 'sender': 'f@x', {said}}}")).mail
        assert mail is not None
        assert (mail.port, mail.implicit_tls, mail.needs_tls) == (port, implicit, implicit)


def test_the_files_of_our_certificate_lie_beside_the_configuration_and_may_be_one(tmp_path: Path) -> None:
    said = "mail = {'host': 'x', 'sender': 'f@x', 'certificate_file': 'c.pem'%s}"
    mail = load_settings(write(tmp_path, said % ", 'key_file': 'k.pem'")).mail
    assert mail is not None
    assert (mail.certificate, mail.key) == (tmp_path / "c.pem", tmp_path / "k.pem")
    mail = load_settings(write(tmp_path, said % "")).mail
    assert mail is not None
    assert mail.key == mail.certificate == tmp_path / "c.pem"


def test_a_program_that_sends_no_mail_reads_no_secret(tmp_path: Path) -> None:
    """Requesters and donors may use the same file without being able to read the password."""
    settings = load_settings(write(tmp_path, LOGIN % "'password_file': '/nowhere/secret'"), secrets=False)
    assert settings.mail is not None
    assert settings.mail.password == ""


def test_logins_of_private_origins_come_from_files_which_the_metaserver_alone_reads(tmp_path: Path) -> None:
    path = write(tmp_path, "origin_logins = {'https://git.example.org/': 'login'}")
    assert load_settings(path, secrets=False).origin_logins.url("https://git.example.org/x") == (
        "https://git.example.org/x"
    )
    with pytest.raises(EmptySecret, match=f"origin_logins: the secret file {tmp_path}/login cannot be read"):
        load_settings(path)
    write(tmp_path, "joe:pass word\n", "login")
    assert load_settings(path).origin_logins.url("https://git.example.org/x").startswith("https://joe:pass%20word@git")
    write(tmp_path, ":pass\n", "login")
    with pytest.raises(
        EmptySecret, match="login is not usable: it holds user:password, or a token, in one line"
    ) as told:
        load_settings(path)
    assert ":pass\n" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("['x']", "it is a dictionary of at most 100 such as"),
        ("{1: 'x'}", "it is a dictionary of at most 100 such as"),
        ("{'https://git.example.org': 'x'}", "it is the beginning of http:// or https:// URLs, with a whole host"),
        ("{'https://git.example.org/': 7}", "origin_logins: 'https://git.example.org/'"),
    ],
)
def test_what_is_no_login_of_an_origin_is_told(tmp_path: Path, said: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load_settings(write(tmp_path, f"origin_logins = {said}"))


# --- checking and describing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("lambda wanted: wanted.options['x']", "its recipe raised KeyError: 'x'"),
        ("lambda wanted: None", "its recipe answered None, not a Plan"),
        ("lambda w, n=iter(range(9)): Plan([Command([str(next(n))])], ['x'])", "answers the same question differently"),
        ("lambda wanted: Plan([Command(['make'])], ['../x'])", "a recipe's paths lie below the source"),
    ],
)
def test_a_recipe_is_tried_when_the_configuration_is_checked(tmp_path: Path, plan: str, said: str) -> None:
    settings = load_settings(write(tmp_path, f"projects = [{project(tmp_path, plan=plan)}]"))
    with pytest.raises(ConfigurationError, match=r"^project one: ") as caught:
        check_projects(settings)
    assert said in str(caught.value)


def test_what_was_understood_is_described(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, f"trusted = 'loopback'\nweb_port = 81\nprojects = [{project(tmp_path)}]"))
    lines = "\n".join(describe(settings))
    for part in (
        str(tmp_path / "config.py"),
        "23432",
        "http://127.0.0.1:81",
        "none: nobody is mailed; what would be sent is kept",
        "one, recipe 1",
    ):
        assert part in lines


def test_what_the_farm_says_of_itself_is_read_described_and_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "title = 'Old  iron'\ntitle_url = 'https://Iron.example/farm/?a=1#top'\ncontact = 'Ann@Iron.example'"
    settings = load_settings(write(tmp_path, text))
    farm = settings.deployment
    assert (farm.title, farm.title_url) == ("Old iron", "https://iron.example/farm/?a=1#top")
    assert (farm.contact, farm.contact_url) == ("Ann@iron.example", "mailto:Ann@iron.example")
    assert "farm            Questions: Ann@iron.example" in describe(settings)
    monkeypatch.setenv("BUILDTOOL_CONTACT", "https://iron.example/chat")
    assert load_settings(tmp_path / "config.py").deployment.contact_url == "https://iron.example/chat"
    monkeypatch.setenv("BUILDTOOL_CONTACT", "nobody")
    assert wrong(tmp_path / "config.py").startswith("config.py: $BUILDTOOL_CONTACT = 'nobody' is not usable: ")


def test_a_project_says_where_more_is_told_of_it_and_nothing_that_leads_elsewhere() -> None:
    def made(url: str, contact: str) -> Project:
        return Project("lua", ProjectOptions((), ()), Recipe(1, lambda _: Plan((), ())), str, url=url, contact=contact)

    assert made("https://www.lua.org/", "lua-l@lists.lua.org").place.contact_url == "mailto:lua-l@lists.lua.org"
    with pytest.raises(ConfigurationError, match=r"^a project's url = 'javascript:x' is not usable: "):
        made("javascript:x", "")


@pytest.mark.parametrize("who", ["observer", ["anna", "requester"], ["operator"]])
def test_a_role_builds_nothing_and_is_refused(who: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^may_build names build servers .* but no role: '\w+'$"):
        Project("lua", ProjectOptions((), ()), Recipe(1, lambda _: Plan((), ())), str, may_build=who)


def test_names_owners_and_domains_may_build() -> None:
    asked = ["anna", "Ben@example.org", "@example.com"]
    found = Project("lua", ProjectOptions((), ()), Recipe(1, lambda _: Plan((), ())), str, may_build=asked)
    assert found.may_build.has("other", "ben@example.org")
