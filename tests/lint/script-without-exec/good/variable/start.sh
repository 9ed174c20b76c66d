#!/bin/sh
${WRAPPER:-exec} node server.js
