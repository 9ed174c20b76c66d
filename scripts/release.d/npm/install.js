// Puts the binary of this processor in place of the script that npm has linked, so that no Node.js runs beside it.
const fs = require('fs');
const path = require('path');

const name = `stepdown-linux-${process.arch}`;
try {
  const binary = path.join(path.dirname(require.resolve(`${name}/package.json`)), 'stepdown');
  const link = path.join(__dirname, 'bin', 'stepdown');
  // Renamed over it: what is not whole is never there.
  fs.copyFileSync(binary, `${link}.new`);
  fs.chmodSync(`${link}.new`, 0o755);
  fs.renameSync(`${link}.new`, link);
} catch (error) {
  console.error(`stepdown: ${name} cannot be used: ${error.message}`);
}
