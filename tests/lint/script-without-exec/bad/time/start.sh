#!/bin/bash
time node server.js
