"""A celery application that gives itself a task of 7 s as soon as its worker is ready."""

import pathlib
import time

import celery
from celery.signals import worker_ready

app = celery.Celery("tasks", broker="memory://")
app.conf.worker_hijack_root_logger = False


@app.task
def work():
    pathlib.Path("/mnt/flying").touch()
    time.sleep(7)
    pathlib.Path("/mnt/done").touch()


@worker_ready.connect
def begin(**_):
    work.delay()
