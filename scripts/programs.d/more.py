"""Programs that only scripts/programs --options plays: with options that do not suit tini, or a broker beside them."""

import catalog
import in_flight as ask
from catalog import HERE, PORT, VENV, Program, http

CONSOLE = [catalog.PYTHON, f"{HERE}/console.py"]
REDIS = ["redis-server", "--port", "6379", "--save", "", "--dir", "/mnt"]

PROGRAMS = [
    Program(
        "redis as a daemon",
        ["redis-server", "--port", "8080", "--dir", "/mnt", "--save", "3600 1", "--daemonize", "yes"]
        + ["--pidfile", "/mnt/redis.pid", "--logfile", "/mnt/log"],
        ["redis-server"],
        well="bye bye",
    ),
    http(
        "nginx as a daemon",
        ["nginx", "-e", "stderr", "-c", "/mnt/nginx.conf"],
        ["nginx-light"],
        files={
            "/mnt/nginx.conf": """daemon on; pid /mnt/nginx.pid; worker_processes 2; events {}
                http { access_log off; server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } } }"""
        },
    ),
    Program(
        "RabbitMQ",
        # Debian's own command puts su(1) in front, which kills it 2 s after a TERM; images start it as here.
        catalog.as_user("rabbitmq", "/usr/lib/rabbitmq/bin/rabbitmq-server"),
        ["rabbitmq-server"],
        ready=lambda: ask.listens(PORT),
        env={
            "HOME": "/var/lib/rabbitmq",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_NODE_PORT": "8080",
            "RABBITMQ_MNESIA_BASE": "/mnt/data",
            "RABBITMQ_LOGS": "-",
        },
        # So that the directory is the server's.
        template="true",
    ),
    http(
        "unicorn",
        ["unicorn", "-l", "127.0.0.1:8080", "-c", "/mnt/unicorn.rb", f"{HERE}/config.ru"],
        ["unicorn"],
        env={"HOME": "/mnt"},
        files={"/mnt/unicorn.rb": "worker_processes 2\n"},
    ),
    Program(
        "Sidekiq",
        ["sidekiq", "-r", f"{HERE}/job.rb", "-c", "2"],
        ["ruby-sidekiq", "redis-server"],
        beside=REDIS,
        ready="/mnt/flying",
        request=lambda: ask.file("/mnt/done"),
        env={"HOME": "/mnt", "REDIS_URL": "redis://127.0.0.1:6379/0"},
    ),
    Program(
        "Jupyter",
        [f"{VENV}/jupyter-server", "--allow-root", "--no-browser", "--port=8080", "--ServerApp.token=", "--ip=127.0.0.1"],
        ["pypi:jupyter-server"],
        env={"HOME": "/mnt"},
    ),
    http(
        "Go",
        ["/mnt/data/app"],
        ["golang-go"],
        commands=("go",),
        template=f"HOME=/mnt GOFLAGS=-p=1 go build -o /mnt/data/app {HERE}/app.go",
    ),
    http(
        "Go with Shutdown",
        ["/mnt/data/app", "shutdown"],
        ["golang-go"],
        commands=("go",),
        template=f"HOME=/mnt GOFLAGS=-p=1 go build -o /mnt/data/app {HERE}/app.go",
        well="well: shutdown",
    ),
    Program("console program", CONSOLE, ["python3"], ready="/mnt/ready", well="well: saved"),
    Program(
        "cron with a job",
        ["cron", "-f"],
        ["cron"],
        ready="/mnt/flying",
        request=lambda: ask.file("/mnt/done"),
        files={"/etc/crontab": "@reboot root touch /mnt/flying; sleep 3; touch /mnt/done\n"},
    ),
]
