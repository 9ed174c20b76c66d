"""The options that suit each program, and what is to be known of its stop: what scripts/programs --options prints."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Recipe:
    # What is told to stepdown, as in a shell; empty where nothing is needed.
    options: str
    # The command as an image has it.
    command: str
    # By which signals it stops, and which one its image has.
    stops: str
    # What another signal does meanwhile.
    second: str
    # Whether it becomes a daemon, and how not.
    foreground: str
    why: str


STAYS = "stays"
AT_ONCE = "—"
DRAIN = "--drain-port 8080 --grace 10s"

RECIPES = {
    "nginx": Recipe(
        "--stop-signal QUIT --grace 30s",
        "nginx -g 'daemon off;'",
        "`QUIT` waits, `TERM` and `INT` cut; image: `QUIT`",
        "`TERM` or `INT` cuts",
        "daemon, unless `daemon off;`",
        "`QUIT` lets requests end, and no signal that would cut them reaches nginx.",
    ),
    "nginx as a daemon": Recipe(
        "--main-pid file:/mnt/nginx.pid --stop-signal QUIT --grace 30s",
        "nginx",
        "as nginx",
        "as nginx",
        "daemon",
        "For an nginx that is upgraded in place by `USR2`, a signal that it ignores in the foreground.",
    ),
    "apache2": Recipe(
        "--stop-signal WINCH --grace 30s",
        "apache2ctl -D FOREGROUND",
        "`WINCH` waits, `TERM` cuts; image: `WINCH`",
        "`TERM` cuts",
        "daemon, unless `-D FOREGROUND`",
        "`WINCH` lets requests end.",
    ),
    "php-fpm": Recipe(
        f"{DRAIN} --stop-signal QUIT",
        "php-fpm -F",
        "`QUIT` waits for `process_control_timeout` (0), `TERM` cuts; image: `QUIT`",
        "`TERM` cuts",
        "daemon, unless `-F` or `daemonize = no`",
        "With its default of 0 s even `QUIT` cuts, so stepdown waits for the requests first.",
    ),
    "php -S": Recipe(
        f"{DRAIN} --clean-stop", "php -S 0.0.0.0:8080", "`INT` waits; it dies of `TERM`", AT_ONCE, STAYS,
        "It has no handler for `TERM`.",
    ),
    "haproxy": Recipe(
        "--stop-signal USR1 --grace 30s",
        "haproxy -W -db -f haproxy.cfg",
        "`USR1` waits, `TERM` and `INT` cut; image: `USR1`",
        "`TERM` or `INT` cuts",
        "stays with `-db`",
        "`USR1` lets sessions end. If some never do, set `hard-stop-after` in its configuration, too.",
    ),
    "lighttpd": Recipe(
        "--stop-signal INT --grace 30s",
        "lighttpd -D -f lighttpd.conf",
        "`INT` waits, `TERM` cuts",
        "another `INT` cuts",
        "daemon, unless `-D`",
        "`INT` lets requests end.",
    ),
    "squid": Recipe(
        "--stop-signal TERM --grace 40s",
        "squid --foreground",
        "`TERM` waits for `shutdown_lifetime` (30 s), `INT` cuts",
        "`INT` cuts",
        "daemon, unless `--foreground`",
        "The grace is longer than its own limit, and no `INT` follows the `TERM`.",
    ),
    "varnish": Recipe(
        DRAIN, "varnishd -F -a :8080 -f default.vcl", "`TERM` and `INT` cut", AT_ONCE, "daemon, unless `-F`",
        "Every signal cuts, so stepdown waits for the requests first.",
    ),
    "caddy": Recipe(
        "--stop-signal TERM --grace 30s",
        "caddy run --config Caddyfile",
        "`TERM` and `INT` wait for `grace_period` (no limit)",
        "nothing",
        "stays with `run`",
        "It waits by itself without a limit, and the grace sets one.",
    ),
    "stunnel": Recipe(
        "--drain-port 8080/tls --grace 10s", "stunnel stunnel.conf", "`TERM` and `INT` cut", AT_ONCE,
        "daemon, unless `foreground = yes`", "Every signal cuts, so stepdown waits for the requests first.",
    ),
    "PostgreSQL": Recipe(
        "--ladder SAME:8s,INT:15s,QUIT:3s,KILL --stop-signal TERM",
        "postgres",
        "`TERM` waits for clients to leave, `INT` ends their sessions, `QUIT` is a crash; image: `INT`",
        "a stronger one takes over",
        "stays",
        "Short sessions end by themselves, those of a pool after 8 s; the data are written in any case.",
    ),
    "MariaDB": Recipe(
        "--stop-signal TERM --grace 60s",
        "mariadbd",
        "`TERM`; ignores `INT`",
        "nothing",
        "stays",
        "It ignores `INT`, so stepdown sends `TERM` in its place. It has time to write its buffers.",
    ),
    "redis": Recipe(
        "--stop-signal TERM --grace 30s",
        "redis-server",
        "`TERM` and `INT` save, then end it",
        "`INT` ends it before it has saved",
        "stays, unless `daemonize yes`",
        "No `INT` during the save.",
    ),
    "redis as a daemon": Recipe(
        "--main-pid file:/mnt/redis.pid --stop-signal TERM --grace 30s",
        "redis-server --daemonize yes --pidfile /mnt/redis.pid",
        "as Redis",
        "as Redis",
        "daemon",
        "stepdown then waits for the daemon. Without the option the container ends as soon as it has begun.",
    ),
    "memcached": Recipe("", "memcached", "`TERM` and `INT` end it at once", AT_ONCE, "stays, unless `-d`",
                        "There is nothing to wait for."),
    "mosquitto": Recipe("--grace 30s", "mosquitto -c mosquitto.conf", "`TERM` and `INT` write its database", "nothing",
                        "stays, unless `-d`", "Time to write its database."),
    "nats-server": Recipe("--stop-signal INT", "nats-server", "`INT` (status 0), `TERM` (1); `USR2` is its lame duck mode",
                          AT_ONCE, STAYS, "It exits with 0 after `INT`, and with 1 after `TERM`."),
    "etcd": Recipe("--clean-stop --grace 30s", "etcd", "`TERM` and `INT`", AT_ONCE, STAYS,
                   "Time to hand over the leadership."),
    "prometheus": Recipe("--grace 60s", "prometheus", "`TERM` and `INT`", AT_ONCE, STAYS, "Time to close its storage."),
    "RabbitMQ": Recipe(
        "--stop-signal TERM --grace 60s",
        "rabbitmq-server",
        "`TERM` (status 0) and `INT` (130)",
        "nothing",
        "stays, unless `-detached`",
        "Its status is 0 however it is stopped; `epmd`, which it leaves behind, ends with it.",
    ),
    "dovecot": Recipe("--stop-signal TERM --grace 30s", "dovecot -F", "`TERM` and `INT` end sessions", "nothing",
                      "daemon, unless `-F`", "Time to end its own processes."),
    "postfix": Recipe("--stop-signal TERM --clean-stop --grace 30s", "postfix start-fg", "`TERM`; ignores `INT`", "nothing",
                      "daemon, unless `start-fg`", "It ignores `INT`, so stepdown sends `TERM` in its place."),
    "dnsmasq": Recipe("--drain-delay 4s --stop-signal TERM", "dnsmasq -k", "`TERM`; ignores `INT`", "nothing",
                      "daemon, unless `-k`", "stepdown cannot see requests over UDP, so dnsmasq goes on answering for 4 s."),
    "rsyslogd": Recipe("--stop-signal TERM --grace 10s", "rsyslogd -n", "`TERM`; ignores `INT`", "nothing",
                       "daemon, unless `-n`", "It ignores `INT`, so stepdown sends `TERM` in its place. It has time to write its queues."),
    "cron": Recipe("--clean-stop", "cron -f", "dies of any", AT_ONCE, "daemon, unless `-f`",
                   "It has no handler, so it dies of the signal, which is no failure."),
    "cron with a job": Recipe(
        "--drain-until 'exec:sh -c \"test -z \\\"$(cat /proc/$STEPDOWN_CHILD_PID/task/*/children)\\\"\"' --drain-timeout 60s --clean-stop",
        "cron -f",
        "dies of any; its jobs live on",
        AT_ONCE,
        "daemon, unless `-f`",
        "stepdown waits until cron has no job, for 60 s at most. Jobs that are left get `TERM` and, 2 s later, `KILL`.",
    ),
    "sshd": Recipe(
        "--drain-port 8080/opaque --drain-quiet 5s --drain-timeout 60s --stop-signal TERM",
        "/usr/sbin/sshd -D -e",
        "`TERM` ends the listener, its sessions live on",
        AT_ONCE,
        "daemon, unless `-D`",
        "stepdown waits until no session has moved data for 5 s, for 60 s at most. Without the drain they get `TERM` at once.",
    ),
    "supervisord": Recipe(
        f"{DRAIN} --stop-signal TERM",
        "supervisord -n",
        "`TERM`, `INT` and `QUIT` stop its programs (`stopsignal`, `stopwaitsecs`)",
        "`INT` after `TERM` ends it (130)",
        "daemon, unless `-n`",
        "A program without shutdown code finishes its requests first. Make `--grace` longer than the longest `stopwaitsecs`.",
    ),
    "s6-svscan": Recipe(DRAIN, "s6-svscan /services", "`TERM` and `INT` stop its services", "nothing", STAYS,
                        "A service without shutdown code finishes its requests first."),
    "runsvdir": Recipe(
        f"{DRAIN} --stop-signal HUP --success-exit 111",
        "runsvdir /services",
        "`HUP` stops its services, `TERM` leaves them running",
        "nothing",
        STAYS,
        "`TERM` ends only runsvdir, and leaves its services to the [sweep](stop.md#what-is-left). 111 is its exit status after `HUP`.",
    ),
    "gunicorn": Recipe(
        "--stop-signal TERM --grace 40s",
        "gunicorn app:wsgi",
        "`TERM` waits for `graceful_timeout` (30 s), `INT` and `QUIT` cut",
        "`INT` or `QUIT` cuts",
        "stays, unless `--daemon`",
        "Ctrl-C and CI stop it as `docker stop` does.",
    ),
    "uvicorn": Recipe(
        "--stop-signal TERM --clean-stop --grace 30s",
        "uvicorn app:asgi",
        "`TERM` and `INT` wait (no limit)",
        "`INT` cuts",
        STAYS,
        "No second signal cuts the requests.",
    ),
    "hypercorn": Recipe(
        DRAIN, "hypercorn app:asgi", "`TERM` and `INT` wait for `graceful_timeout` (3 s)", "nothing", STAYS,
        "stepdown waits for requests that take longer than its own limit of 3 s.",
    ),
    "daphne": Recipe(
        DRAIN, "daphne app:asgi", "`TERM` and `INT` cut", AT_ONCE, STAYS,
        "Every signal cuts, so stepdown waits for the requests first.",
    ),
    "waitress": Recipe(f"{DRAIN} --clean-stop", "waitress-serve app:wsgi", "dies of `TERM`; `INT` waits 5 s", AT_ONCE, STAYS,
                       "It has no handler for `TERM`."),
    "uwsgi": Recipe(
        f"{DRAIN} --stop-signal INT",
        "uwsgi --http-socket :8080 --master --wsgi-file app.py",
        "`INT` and `QUIT` cut; `TERM` restarts it, unless `die-on-term`",
        AT_ONCE,
        "stays, unless `daemonize`",
        "`TERM` would restart it, and no signal lets requests end.",
    ),
    "honcho": Recipe(f"{DRAIN} --stop-signal TERM --clean-stop", "honcho start", "`TERM` and `INT`: `TERM` to all, 5 s later `KILL`", "nothing", STAYS,
                     "Its programs finish their requests first."),
    "celery": Recipe(
        "--ladder SAME:25s,QUIT:5s,KILL --stop-signal TERM",
        "celery -A tasks worker",
        "`TERM` waits for tasks (no limit), `QUIT` cuts them",
        "`INT` twice, or `QUIT`, cuts them",
        "stays",
        "Tasks have 25 s. Those that are left go back to the broker, if it can take them back.",
    ),
    "python http.server": Recipe(f"{DRAIN} --clean-stop", "python3 app.py", "dies of `TERM`", AT_ONCE, STAYS, "It has no handler for `TERM`."),
    "Java with a hook": Recipe(
        "--success-exit 143,130 --grace 30s",
        "java -jar app.jar",
        "`TERM` and `INT` run its shutdown hooks (Spring: `server.shutdown=graceful`); `QUIT` is a thread dump",
        "nothing",
        STAYS,
        "A JVM that was asked to stop exits with 143 or 130, which is no failure.",
    ),
    "Java": Recipe(f"{DRAIN} --success-exit 143,130", "java -jar app.jar", "as above", "nothing", STAYS,
                   "Without a hook every signal cuts."),
    "node with a handler": Recipe(
        "--stop-signal TERM --grace 30s", "node app.js", "what its handlers say", "what its handlers say", STAYS,
        "`INT` stops it as `TERM` does, and its handler has 30 s.",
    ),
    "node": Recipe(f"{DRAIN} --clean-stop", "node app.js", "dies of `TERM`; as PID 1 it ignores it", AT_ONCE, STAYS,
                   "It has no handler for `TERM`."),
    "npm start": Recipe(
        f"{DRAIN} --stop-signal TERM --clean-stop", "npm start", "passes `TERM` on to a shell, which dies and leaves node", "nothing", STAYS,
        "node itself has no handler for `TERM`.",
    ),
    "npm start with a handler": Recipe(
        "--sweep-grace 30s --stop-signal TERM --clean-stop", "npm start", "as above", "nothing", STAYS,
        "npm ends before node, so the [sweep](stop.md#what-is-left) sends node its `TERM` and waits up to 30 s.",
    ),
    "sh -c node": Recipe(
        f"{DRAIN} --stop-signal TERM --clean-stop", "sh -c 'node app.js'", "the shell dies and leaves node", AT_ONCE, STAYS,
        "node itself has no handler for `TERM`.",
    ),
    "sh -c node with a handler": Recipe(
        "--sweep-grace 30s --stop-signal TERM --clean-stop", "sh -c 'node app.js'", "as above", AT_ONCE, STAYS,
        "The shell ends before node, so the [sweep](stop.md#what-is-left) sends node its `TERM` and waits up to 30 s. "
        "Better is `exec node app.js`.",
    ),
    "Go": Recipe(f"{DRAIN} --clean-stop", "app", "dies of `TERM`", AT_ONCE, STAYS, "It has no handler for `TERM`."),
    "Go with Shutdown": Recipe(
        "--stop-signal TERM --grace 30s", "app", "`signal.NotifyContext` and `Server.Shutdown`", "ends it at once", STAYS,
        "No second signal ends it at once.",
    ),
    "puma": Recipe(
        "--stop-signal TERM --clean-stop --grace 20s",
        "puma",
        "`TERM` (status 143) and `INT` (0) wait",
        "nothing",
        "stays",
        "A stop that was asked for is no failure.",
    ),
    "unicorn": Recipe(
        "--stop-signal QUIT --grace 60s",
        "unicorn -c unicorn.rb",
        "`QUIT` waits, `TERM` and `INT` cut",
        "`TERM` or `INT` cuts",
        "stays, unless `-D`",
        "`QUIT` lets requests end.",
    ),
    "Sidekiq": Recipe(
        "--stop-signal TERM --grace 30s",
        "sidekiq",
        "`TERM` and `INT` wait for `-t` (25 s), then jobs go back to Redis",
        "nothing",
        "stays",
        "Five seconds more than its own limit, as its documentation advises ([Deployment][sidekiq]).",
    ),
    "Jupyter": Recipe(
        "--stop-signal TERM --grace 30s",
        "jupyter server --no-browser",
        "`TERM` ends its kernels; `INT` asks on a terminal",
        "`INT` after `TERM` ends it (130)",
        STAYS,
        "It does not ask whether to end, and its kernels have time to end.",
    ),
    "console program": Recipe(
        "--ladder stdin=stop:60s,SAME:10s,KILL --stop-signal TERM",
        "java -jar server.jar nogui",
        "the line `stop` on its console",
        AT_ONCE,
        "stays",
        "It stops as if somebody had typed `stop`, and no `INT` disturbs the save. For game servers such as Minecraft. "
        "Run here with a small Python program instead, which saves for 3 s on `stop`.",
    ),
}

# What cannot be installed from Debian or PyPI.
NOT_RUN = [
    (
        "ASP.NET Core, .NET's generic host",
        Recipe(
            "--stop-signal TERM --grace 35s",
            "dotnet app.dll",
            "`TERM`, `INT` and `QUIT`, by `ConsoleLifetime` ([.NET][dotnet])",
            "not known",
            STAYS,
            "Its own limit is `HostOptions.ShutdownTimeout`. The grace has to be longer.",
        ),
    ),
]

LINKS = """[dotnet]: https://learn.microsoft.com/dotnet/core/extensions/generic-host "read in November 2026"
[sidekiq]: https://github.com/sidekiq/sidekiq/wiki/Deployment "read in November 2026"
"""
