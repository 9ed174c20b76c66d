#!/bin/sh
cd /app
node server.js
