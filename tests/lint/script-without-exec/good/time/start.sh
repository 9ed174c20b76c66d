#!/bin/bash
time exec node server.js
