#!/bin/bash
shopt -s expand_aliases
alias run=exec
run node server.js
