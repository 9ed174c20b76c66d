#!/bin/sh
server --port 80
