// Where the binary of this processor is; undefined, and the way out on standard error, where there is none.
const path = require('path');
const { optionalDependencies } = require('./package.json');

module.exports = () => {
  const name = `stepdown-linux-${process.arch}`;
  try {
    return path.join(path.dirname(require.resolve(`${name}/package.json`)), 'stepdown');
  } catch {
    const version = optionalDependencies[name];
    console.error(
      version
        ? `stepdown: the package with the binary is missing; try: npm install ${name}@${version} && npm rebuild stepdown`
        : `stepdown: there is no binary for this processor (${process.arch})`
    );
    return undefined;
  }
};
