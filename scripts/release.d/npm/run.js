#!/usr/bin/env node
// Is there only where npm has not run install.js (--ignore-scripts): executes the binary in this process's place.
const path = require('path');

const name = `stepdown-linux-${process.arch}`;
try {
  const binary = path.join(path.dirname(require.resolve(`${name}/package.json`)), 'stepdown');
  if (!process.execve) {
    console.error(`stepdown: npm has not run its install script, and this Node.js cannot execute ${binary} in its place`);
    process.exit(125);
  }
  process.execve(binary, ['stepdown', ...process.argv.slice(2)]);
} catch (error) {
  console.error(`stepdown: ${name} cannot be used: ${error.message}`);
  process.exit(125);
}
