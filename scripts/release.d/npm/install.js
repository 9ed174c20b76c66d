// Puts the binary of this processor in place of the script that npm has linked, so that no Node.js runs beside it.
const fs = require('fs');
const path = require('path');

const binary = require('./binary.js')();
try {
  if (binary) {
    const link = path.join(__dirname, 'bin', 'stepdown');
    // Renamed over it: what is not whole is never there.
    fs.copyFileSync(binary, `${link}.new`);
    fs.chmodSync(`${link}.new`, 0o755);
    fs.renameSync(`${link}.new`, link);
  }
} catch (error) {
  // Then bin/stepdown is still the script, which executes it where it is.
  console.error(`stepdown: ${binary} cannot be copied: ${error.message}`);
}
