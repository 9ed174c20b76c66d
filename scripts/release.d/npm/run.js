#!/usr/bin/env node
// Is there only where npm has not run install.js (--ignore-scripts): executes the binary in this process's place.
const binary = require('../binary.js')();

try {
  if (binary && process.execve) {
    process.execve(binary, ['stepdown', ...process.argv.slice(2)]);
  } else if (binary) {
    console.error(
      `stepdown: this Node.js cannot execute ${binary} in its place; try: npm rebuild --ignore-scripts=false stepdown`
    );
  }
} catch (error) {
  console.error(`stepdown: ${binary} cannot be executed: ${error.message}`);
}
process.exit(125);
