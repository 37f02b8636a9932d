"""The deployment: where the metaserver is, where things are kept, who sends the mail, which projects there are.

All four programs read this file: bin/metaserver, bin/webserver, bin/buildserver.py and bin/startcompile.py. They look
for `--config FILE` first, then for the file named by $BUILDTOOL_CONFIG, then for this one. `bin/metaserver
check-config` says what it understood.

It is Python, executed once at the start. Every setting has the value below when it is left out. Relative paths lie
beside this file. A name of your own begins with an underscore; any other unknown name is an error, so that a typing
mistake does not pass for a default.

The variables named in brackets take precedence over what stands here, so that several deployments (a test, the demo)
can use one file.
"""

# Where requesters and build servers reach the metaserver: a name or an address, or a list of those that are tried in
# turn. An endpoint string such as "tls:farm.example.org:443:trustRoots=authorities" says port and TLS as well: then
# `pb_port` is only what the metaserver listens on.                                          [BUILDTOOL_HOST]
host = "127.0.0.1"

# On which address of its machine the metaserver listens; "0.0.0.0" is all of them. When it is left out: `host` if
# that is an address, otherwise 127.0.0.1. Who may do what there, `trusted` says.
#                                                                                            [BUILDTOOL_BIND]
# bind = "0.0.0.0"

# Who is believed without a key: "nobody" (which it is when left out), whoever is on this machine ("loopback"), or
# "everybody" who can connect, by plain TCP. Everybody else joins with the line that `bin/metaserver invite NAME`
# prints, and speaks TLS. A proxy on this machine makes all who come through it look as if they were here: then say
# "nobody".                                                                               [BUILDTOOL_TRUSTED]
trusted = "loopback"

# Under which other names or addresses the metaserver is reached: they stand in its certificate.
# tls_names = ["farm.example.org"]

# Reverse proxies, whose X-Forwarded-For is believed. Of others no such header is, and of nobody the Host header.
# proxies = ["127.0.0.1", "10.1.0.0/16"]

# In which header these proxies say who has logged in there, by e-mail address, and who of them is more than a
# requester. They have to set it on every request, whatever visitors send.
# proxy_identity = {"header": "X-Forwarded-Email", "roles": {"anna@example.org": "operator"}}

# A file in which each answer of the pages is a line, in the combined format.
# access_log = "var/access.log"

# Logins of private origins, by what their URLs begin with: files, of which each has user:password or a token. The
# metaserver alone reads them; build servers get the commits from it.
# origin_logins = {"https://git.example.org/": "secrets/git-login"}
# hook_secrets = {"lua": "secrets/hook-lua"}

# Where those who are invited find the metaserver, where that is not `host` and `pb_port`: one, or a list.
#                                                                                  [BUILDTOOL_PUBLIC_ADDRESS]
# public_address = "farm.example.org:443"

# For how long a certificate carries a key until it has to be renewed, which happens by itself, and how long a machine
# may be away after its certificate has expired.     [BUILDTOOL_CERTIFICATE_LIFE, BUILDTOOL_REJOIN_WITHIN]
# certificate_life = "30d"
# rejoin_within = "400d"

# How old the last good backup may be until /health says so; without it any age is right.    [BUILDTOOL_BACKUP_WITHIN]
# backup_within = "26h"

# Who may do what, where it is to be otherwise than the manual's table says, by role and act.
# rights = {"requester": {"force": "nothing"}}

# The control port, for short messages from requesters and build servers.                 [BUILDTOOL_PB_PORT]
pb_port = 23432

# The transfer port, for artifacts and logs by HTTP. Where keys are needed the control port has these too, and this
# port is there only when it is said here.                                          [BUILDTOOL_TRANSFER_PORT]
# transfer_port = 23433

# The port of the pages.                                                                 [BUILDTOOL_WEB_PORT]
web_port = 8080

# What each port listens on, in place of `bind`: an address, or "unix:" and a path.
#                                  [BUILDTOOL_PB_BIND, BUILDTOOL_TRANSFER_BIND, BUILDTOOL_WEB_BIND]
# pb_bind = "0.0.0.0"
# transfer_bind = "unix:/run/buildtool/transfers"
# web_bind = "unix:/run/buildtool/web"

# Which ports speak no TLS though others reach them, of "transfer" and "web".             [BUILDTOOL_PLAIN_PORTS]
# plain_ports = ["web"]

# An own certificate for browsers, as a public authority gives it: PEM files, which are read again when they change.
#                                                             [BUILDTOOL_TLS_CERTIFICATE, BUILDTOOL_TLS_KEY]
# tls_certificate = "/etc/letsencrypt/live/farm.example.org/fullchain.pem"
# tls_key = "/etc/letsencrypt/live/farm.example.org/privkey.pem"

# What links in mails and on pages begin with, and where artifacts are fetched. Set them when a reverse proxy stands
# in front; when left out they are made of `host` and the ports. [BUILDTOOL_PUBLIC_URL, BUILDTOOL_TRANSFER_URL]
# public_url = "https://farm.example.org"
# transfer_url = "https://files.farm.example.org"

# What the metaserver must not lose: the database, artifacts, logs, mirrors of the repositories, the key that signs
# tickets. Back this directory up; one metaserver at a time may use it.                 [BUILDTOOL_STATE_DIR]
state_dir = "var/metaserver"

# Where a build server keeps mirrors and work trees. A name's directory in it may be deleted while that does not run.
#                                                                                       [BUILDTOOL_BUILD_DIR]
build_dir = "var/buildserver"

# What the farm is called in the header of its pages, in feeds and in mails, the page that tells about it, and who is
# asked about it: an e-mail address or the URL of a page, which everybody sees.
#                                                      [BUILDTOOL_TITLE, BUILDTOOL_TITLE_URL, BUILDTOOL_CONTACT]
# title = "buildtool"
# title_url = "https://example.org/farm"
# contact = "farm@example.org"

# For how many seconds a build is believed to go on after its build server was last heard of: a link that breaks for a
# shorter time costs nothing.                                                              [BUILDTOOL_LEASE]
lease = 60

# For how many days the name of a build server is remembered that never built anything. (Programs that are older than
# this setting refuse a file that has it.)
# names_kept = 7

# How much everybody may have: for a caller, from one address, from one network; see docs/operator.rst, "Limits".
# limits = {"requests_an_hour": 100, "connections": (20, 200, None)}

# How long and how much is kept; what is said nothing of is kept for ever, see docs/operator.rst, "What is kept".
# keep = {"logs": {"age": "90d", "size": "20GiB"}, "artifacts": {"size": "200GiB"}}

# How many turns some requesters, and some of the projects of each, have in a round; see docs/operator.rst, "The order".
# weights = {"requesters": {"ci@example.org": 4}, "projects": {"lua": 2}}

# Mail addresses and domains that mail goes to without a confirmation, and those that may get a key by mail.
# confirmed = ("@example.org",)
# logins = ("@example.org", "ann@example.net")

# How everybody who waits is told. None: nobody is mailed; what would be sent is kept, and sent when there is a mail
# server here. The password never stands here but in a file of its own (readable by the metaserver only) or in an
# environment variable; if that is missing or empty, the metaserver does not start. `starttls` is "never",
# "opportunistic" (encrypt when the server can) or "required", which is the default as soon as there is a password.
#                                              [BUILDTOOL_MAIL_HOST, BUILDTOOL_MAIL_PORT, BUILDTOOL_MAIL_SENDER]
mail = None
# mail = {
#     "host": "mail.example.org",
#     "port": 587,                                   # default: 587 with a username, otherwise 25; 465 begins with TLS
#     "sender": "farm@example.org",
#     "username": "farm",
#     "password_file": "/etc/buildtool/mail.secret", # or: "password_env": "FARM_MAIL_PASSWORD"
#     "starttls": "required",
#     "verify": True,                                # whether the server's certificate must hold
# }

# The projects that can be built. `load` executes a project's own configuration, which describes its options and holds
# its recipe; see testproject/config.py. A build server offers the projects that stand in *its* configuration.
projects = [
    load("testproject/config.py"),  # noqa: F821 - load() is given to this file when it is executed
]
