"""The programs that scripts/programs plays: how each is started, asked something, and known to be ready."""

import dataclasses
import glob
import os
import typing

import in_flight as ask

HERE = "/mnt/app"  # this directory, as the programs see it
CACHE = os.environ.get("STEPDOWN_PROGRAMS_CACHE", "")
VENV = f"{CACHE}/venv/bin"
PYTHON = "/usr/bin/python3"

# Every program has the network, /mnt, /tmp and /run to itself, so all of them use this port.
PORT = 8080


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    argv: list
    # Debian's packages; "pypi:NAME" comes from PyPI.
    packages: list
    # What must be there besides the first word of argv.
    commands: tuple = ()
    # A path that appears, or a port that accepts, or a function that returns True.
    ready: typing.Union[str, int, typing.Callable] = PORT
    # Has something in flight when the signal is sent; returns whether its answer came whole.
    request: typing.Optional[typing.Callable] = None
    # Files to be written beforehand.
    files: dict = dataclasses.field(default_factory=dict)
    # Fills /mnt/data, once for all cells; each gets a copy of its own.
    template: typing.Optional[str] = None
    env: dict = dataclasses.field(default_factory=dict)
    # What the log says when the program came to its end in an orderly way.
    well: typing.Optional[str] = None
    # What it needs from another program, which is there before it and outlives it.
    beside: typing.Optional[list] = None
    # Seconds from the moment that the request is known to have begun to the first signal.
    under_way: float = 0.3


def http(name, argv, packages, **more):
    more.setdefault("ready", ask.quick)
    more.setdefault("request", ask.slow)
    return Program(name, argv, packages, **more)


def newest(pattern):
    found = sorted(glob.glob(pattern))
    return found[-1] if found else pattern


def as_user(user, *argv):
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *argv]


def server(*argv):
    return " ".join([PYTHON, f"{HERE}/app.py", *argv])


NODE = ["node", f"{HERE}/app.js"]
JAVA = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx64m", "-cp", "/mnt/data", "App"]
JAVAC = f"javac -d /mnt/data {HERE}/App.java"
PACKAGE = '{"name": "app", "version": "1.0.0", "scripts": {"start": "node /mnt/app/app.js %s"}}\n'
NPM = {"HOME": "/mnt", "NPM_CONFIG_UPDATE_NOTIFIER": "false", "NPM_CONFIG_FUND": "false"}
PHP_FPM = newest("/usr/sbin/php-fpm[0-9]*")
POSTGRES = newest("/usr/lib/postgresql/*/bin")

PROGRAMS = [
    http(
        "nginx",
        ["nginx", "-e", "stderr", "-c", "/mnt/nginx.conf"],
        ["nginx-light"],
        files={
            "/mnt/nginx.conf": """daemon off; pid /mnt/nginx.pid; worker_processes 2; events {}
                http { access_log off; server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }"""
        },
    ),
    http(
        "apache2",
        ["apache2", "-d", "/mnt", "-f", "/mnt/httpd.conf", "-D", "FOREGROUND"],
        ["apache2"],
        files={
            "/mnt/httpd.conf": "".join(
                f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
                for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
            )
            + """Listen 127.0.0.1:8080
                ServerName localhost
                User www-data
                Group www-data
                DefaultRuntimeDir /mnt
                PidFile /mnt/apache.pid
                ErrorLog /mnt/apache.log
                ProxyPass / http://127.0.0.1:9000/
                """
        },
    ),
    Program(
        "php-fpm",
        [PHP_FPM, "-n", "-F", "-O", "-y", "/mnt/fpm.conf"],
        ["php-fpm"],
        request=ask.fastcgi,
        files={
            "/mnt/fpm.conf": """[global]
error_log = /proc/self/fd/2
daemonize = no
[www]
listen = 127.0.0.1:8080
user = www-data
pm = static
pm.max_children = 2
"""
        },
    ),
    http("php -S", ["php", "-n", "-S", "127.0.0.1:8080", f"{HERE}/slow.php"], ["php-cli"]),
    http(
        "haproxy",
        ["haproxy", "-W", "-db", "-f", "/mnt/haproxy.cfg"],
        ["haproxy"],
        files={
            "/mnt/haproxy.cfg": """defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen web
    bind 127.0.0.1:8080
    server backend 127.0.0.1:9000
"""
        },
    ),
    http(
        "lighttpd",
        ["lighttpd", "-D", "-f", "/mnt/lighttpd.conf"],
        ["lighttpd"],
        files={
            "/mnt/lighttpd.conf": """server.port = 8080
server.document-root = "/mnt"
server.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "127.0.0.1", "port" => 9000)))
"""
        },
    ),
    http(
        "squid",
        ["squid", "--foreground", "-f", "/mnt/squid.conf"],
        ["squid"],
        request=ask.http_proxy,
        ready=PORT,
        files={
            "/mnt/squid.conf": """http_port 127.0.0.1:8080
http_access allow all
cache deny all
pid_filename /run/squid.pid
cache_log /mnt/squid.log
access_log none
max_filedescriptors 1024
shutdown_lifetime 5 seconds
visible_hostname localhost
"""
        },
    ),
    http(
        "varnish",
        ["varnishd", "-F", "-a", "127.0.0.1:8080", "-b", "127.0.0.1:9000", "-n", "/mnt/varnish", "-s", "malloc,10M"],
        ["varnish"],
    ),
    http(
        "caddy",
        ["caddy", "run", "--config", "/mnt/Caddyfile", "--adapter", "caddyfile"],
        ["caddy"],
        env={"HOME": "/mnt"},
        files={
            "/mnt/Caddyfile": """{
    admin off
    auto_https off
}
http://127.0.0.1:8080 {
    reverse_proxy 127.0.0.1:9000
}
"""
        },
    ),
    Program(
        "stunnel",
        ["stunnel4", "/mnt/stunnel.conf"],
        ["stunnel4", "openssl"],
        commands=("openssl",),
        request=ask.https,
        template="openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 30"
        " -keyout /mnt/data/key.pem -out /mnt/data/cert.pem",
        files={
            "/mnt/stunnel.conf": """foreground = yes
pid =
[web]
accept = 127.0.0.1:8080
connect = 127.0.0.1:9000
cert = /mnt/data/cert.pem
key = /mnt/data/key.pem
"""
        },
    ),
    Program(
        "PostgreSQL",
        as_user("postgres", f"{POSTGRES}/postgres", "-D", "/mnt/data", "-k", "/mnt", "-p", "8080"),
        ["postgresql"],
        commands=("psql",),
        ready=lambda: ask.command(["psql", "-h127.0.0.1", "-p8080", "-Upostgres", "-c", "select 1"]),
        request=lambda: ask.command(
            ["psql", "-h127.0.0.1", "-p8080", "-Upostgres", "-c", r"\! touch /mnt/flying", "-c", "select pg_sleep(3)"]
        ),
        template=f"setpriv --reuid=postgres --regid=postgres --clear-groups {POSTGRES}/initdb -A trust -N /mnt/data",
        well="database system is shut down",
    ),
    Program(
        "MariaDB",
        ["mariadbd", "--no-defaults", "--user=mysql", "--datadir=/mnt/data", "--socket=/mnt/socket", "--port=8080"],
        ["mariadb-server", "mariadb-client"],
        commands=("mariadb", "mariadb-install-db"),
        ready=lambda: ask.command(["mariadb", "-S/mnt/socket", "-uroot", "-e", "select 1"]),
        request=lambda: ask.command(
            ["mariadb", "-S/mnt/socket", "-uroot", "-e", "system touch /mnt/flying; select sleep(3)"], silent="1\n"
        ),
        template="mariadb-install-db --no-defaults --user=mysql --datadir=/mnt/data --skip-test-db"
        " --auth-root-authentication-method=normal",
        well="Shutdown complete",
    ),
    Program(
        "redis",
        ["redis-server", "--port", "8080", "--dir", "/mnt", "--save", "3600 1"],
        ["redis-server"],
        request=lambda: ask.line(b"BLPOP nothing 3\r\n", b"*-1\r\n"),
        well="bye bye",
    ),
    Program("memcached", ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", "8080"], ["memcached"]),
    Program(
        "mosquitto",
        ["mosquitto", "-c", "/mnt/mosquitto.conf"],
        ["mosquitto"],
        files={"/mnt/mosquitto.conf": "listener 8080 127.0.0.1\nallow_anonymous true\n"},
    ),
    Program("nats-server", ["nats-server", "-a", "127.0.0.1", "-p", "8080"], ["nats-server"]),
    Program("etcd", ["etcd", "--data-dir", "/mnt/etcd", "--log-level", "error"], ["etcd-server"], ready=2379),
    Program(
        "prometheus",
        ["prometheus", "--config.file=/mnt/p.yml", "--storage.tsdb.path=/mnt/p", "--web.listen-address=127.0.0.1:8080"],
        ["prometheus"],
        files={"/mnt/p.yml": "scrape_configs: []\n"},
        well="See you next time",
    ),
    Program(
        "docker-registry",
        ["docker-registry", "serve", "/mnt/registry.yml"],
        ["docker-registry"],
        files={
            "/mnt/registry.yml": "version: 0.1\nstorage: {filesystem: {rootdirectory: /mnt/registry}}\n"
            "http: {addr: 127.0.0.1:8080}\n"
        },
    ),
    Program(
        "dovecot",
        ["dovecot", "-F", "-c", "/mnt/dovecot.conf"],
        ["dovecot-imapd"],
        files={
            "/mnt/dovecot.conf": """protocols = imap
ssl = no
log_path = /mnt/dovecot.log
listen = 127.0.0.1
service imap-login {
  inet_listener imap {
    port = 8080
  }
}
"""
        },
    ),
    Program(
        "postfix",
        ["postfix", "start-fg"],
        ["postfix"],
        ready=25,
        files={
            "/etc/postfix/main.cf": "compatibility_level = 3.6\nmyhostname = localhost\n"
            "inet_interfaces = loopback-only\ninet_protocols = ipv4\nmydestination =\n"
        },
    ),
    Program(
        "dnsmasq",
        ["dnsmasq", "-k", "-C", "/mnt/dnsmasq.conf"],
        ["dnsmasq-base"],
        ready="/mnt/dnsmasq.pid",
        request=ask.dns,
        files={
            "/mnt/dnsmasq.conf": "port=8080\nno-resolv\nserver=127.0.0.1#9053\nuser=nobody\n"
            "pid-file=/mnt/dnsmasq.pid\ncache-size=0\n"
        },
    ),
    Program(
        "unbound",
        ["unbound", "-d", "-c", "/mnt/unbound.conf"],
        ["unbound"],
        ready="/mnt/unbound.pid",
        request=ask.dns,
        files={
            "/mnt/unbound.conf": """server:
    interface: 127.0.0.1@8080
    do-not-query-localhost: no
    use-syslog: no
    chroot: ""
    username: ""
    pidfile: /mnt/unbound.pid
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@9053
"""
        },
    ),
    Program(
        "named",
        ["named", "-g", "-c", "/mnt/named.conf"],
        ["bind9"],
        ready="/mnt/named.pid",
        request=ask.dns,
        files={
            "/mnt/named.conf": """options {
    directory "/mnt"; pid-file "/mnt/named.pid"; session-keyfile "/mnt/session.key";
    listen-on port 8080 { 127.0.0.1; }; listen-on-v6 { none; };
    forwarders port 9053 { 127.0.0.1; }; forward only; dnssec-validation no;
};
controls {};
"""
        },
    ),
    Program(
        "rsyslogd",
        ["rsyslogd", "-n", "-f", "/mnt/rsyslog.conf", "-i", "/mnt/rsyslogd.pid"],
        ["rsyslog"],
        ready="/mnt/rsyslogd.pid",
        files={"/mnt/rsyslog.conf": 'module(load="imuxsock" SysSock.Name="/mnt/log.socket")\n*.* /mnt/messages\n'},
    ),
    Program("cron", ["cron", "-f"], ["cron"], ready="/run/crond.pid", files={"/etc/crontab": ""}),
    Program(
        "sshd",
        ["/usr/sbin/sshd", "-D", "-e", "-f", "/mnt/sshd.conf"],
        ["openssh-server", "openssh-client"],
        commands=("ssh", "ssh-keygen"),
        request=lambda: ask.command(
            [
                *["ssh", "-q", "-F", "none", "-p", "8080", "-i", "/mnt/data/key", "-o", "BatchMode=yes"],
                *["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1"],
                "touch /mnt/flying; sleep 3; echo done",
            ],
            silent="done",
        ),
        template="ssh-keygen -q -t ed25519 -N '' -f /mnt/data/host; ssh-keygen -q -t ed25519 -N '' -f /mnt/data/key",
        files={
            "/mnt/sshd.conf": """Port 8080
ListenAddress 127.0.0.1
HostKey /mnt/data/host
AuthorizedKeysFile /mnt/data/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile /mnt/sshd.pid
""",
            # sshd's place for itself, which the package's unit makes.
            "/run/sshd/.keep": "",
            # A locked account is refused, whatever the key.
            "/etc/shadow": "root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n",
        },
    ),
    http(
        "supervisord",
        ["supervisord", "-n", "-c", "/mnt/supervisord.conf"],
        ["supervisor"],
        files={
            "/mnt/supervisord.conf": f"[supervisord]\nlogfile=/mnt/supervisord.log\npidfile=/mnt/supervisord.pid\n"
            f"user=root\n[program:web]\ncommand={server()}\n"
        },
    ),
    http(
        "s6-svscan",
        ["s6-svscan", "/mnt/services"],
        ["s6"],
        files={"/mnt/services/web/run": f"#!/bin/sh\nexec {server()}\n"},
    ),
    http(
        "runsvdir",
        ["runsvdir", "/mnt/services"],
        ["runit"],
        files={"/mnt/services/web/run": f"#!/bin/sh\nexec {server()}\n"},
    ),
    Program(
        "screen",
        ["screen", "-D", "-m", "-S", "it", "sleep", "1000"],
        ["screen"],
        ready="/mnt/screens/*.it",
        env={"SCREENDIR": "/mnt/screens", "TERM": "xterm"},
        files={"/mnt/screens/": ""},
    ),
    http(
        "gunicorn",
        [f"{VENV}/gunicorn", "-w", "2", "-b", "127.0.0.1:8080", "app:wsgi"],
        ["pypi:gunicorn"],
    ),
    http(
        "gunicorn gthread",
        [f"{VENV}/gunicorn", "-w", "1", "--threads", "4", "-b", "127.0.0.1:8080", "app:wsgi"],
        ["pypi:gunicorn"],
    ),
    http("uvicorn", [f"{VENV}/uvicorn", "--port", "8080", "app:asgi"], ["pypi:uvicorn"]),
    http("hypercorn", [f"{VENV}/hypercorn", "-b", "127.0.0.1:8080", "app:asgi"], ["pypi:hypercorn"]),
    http("daphne", [f"{VENV}/daphne", "-p", "8080", "app:asgi"], ["pypi:daphne"]),
    http(
        "waitress",
        [f"{VENV}/waitress-serve", "--listen=127.0.0.1:8080", "app:wsgi"],
        ["pypi:waitress"],
    ),
    http(
        "uwsgi",
        [
            *["uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:8080", "--master", "-p", "2"],
            *["--wsgi-file", f"{HERE}/app.py", "--callable", "wsgi"],
        ],
        ["uwsgi-core", "uwsgi-plugin-python3"],
    ),
    http(
        "honcho",
        [f"{VENV}/honcho", "-f", "/mnt/Procfile", "start"],
        ["pypi:honcho"],
        files={"/mnt/Procfile": f"web: exec {server()}\n"},
    ),
    Program(
        "celery",
        [f"{VENV}/celery", "-A", "tasks", "worker", "-c", "2"],
        ["pypi:celery"],
        ready="/mnt/flying",
        request=lambda: ask.file("/mnt/done"),
        # It needs 3 s more than its task, and CI gives it 10 s.
        under_way=1.5,
    ),
    http("python http.server", [PYTHON, f"{HERE}/app.py"], ["python3"]),
    http(
        "Java with a hook",
        [*JAVA, "hook"],
        ["default-jdk-headless"],
        commands=("javac",),
        template=JAVAC,
        well="well: hook",
    ),
    http("Java", JAVA, ["default-jdk-headless"], commands=("javac",), template=JAVAC),
    http("node with a handler", [*NODE, "handler"], ["nodejs"], commands=("node",), well="well: closed"),
    http("node", NODE, ["nodejs"], commands=("node",)),
    http(
        "npm start",
        ["npm", "start", "--prefix", "/mnt"],
        ["npm"],
        commands=("node",),
        env=NPM,
        files={"/mnt/package.json": PACKAGE % ""},
    ),
    http(
        "npm start with a handler",
        ["npm", "start", "--prefix", "/mnt"],
        ["npm"],
        commands=("node",),
        env=NPM,
        files={"/mnt/package.json": PACKAGE % "handler"},
    ),
    http("sh -c node", ["sh", "-c", f"{' '.join(NODE)}; exit $?"], ["nodejs"], commands=("node",)),
    http("sh -c node with a handler", ["sh", "-c", f"{' '.join(NODE)} handler; exit $?"], ["nodejs"], commands=("node",)),
    http("puma", ["puma", "-b", "tcp://127.0.0.1:8080", f"{HERE}/config.ru"], ["puma"], env={"HOME": "/mnt"}),
]
