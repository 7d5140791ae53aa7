/**
 * Run after `npm install` when `npm ci` says "Missing: <package>@ from lock file": npm leaves the optional packages of other platforms out of
 * package-lock.json when the registry at hand does not serve them, and then refuses its own lock file. This names them again, by version
 * and platform; they are fetched on that platform only.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const LOCK = 'package-lock.json';
const OS = ['openharmony', 'darwin', 'win32', 'android', 'freebsd', 'linux'];
// Longer names first: "arm64" contains "arm".
const CPU = ['arm64', 'x64', 'ia32', 'ppc64', 'riscv64', 's390x', 'loong64', 'arm'];

const lock = JSON.parse(readFileSync(LOCK, 'utf8'));
const packages = lock.packages;
for (const [path, { optionalDependencies = {}, dev }] of Object.entries(packages)) {
  const siblings = Object.keys(optionalDependencies);
  for (const [name, wanted] of Object.entries(optionalDependencies)) {
    if (packages[`node_modules/${name}`] || packages[`${path}/node_modules/${name}`]) continue;
    const entry = entryOf(name.slice(name.lastIndexOf('/') + 1), wanted, siblings, dev);
    if (entry) packages[`node_modules/${name}`] = entry;
    else console.error(`${name}: platform or version cannot be told from ${wanted}; add it by hand`);
  }
}
lock.packages = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en')));
writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);

function entryOf(platform, wanted, siblings, dev) {
  const os = OS.find((candidate) => platform.includes(candidate));
  const cpu = CPU.find((candidate) => platform.includes(candidate));
  const installed = siblings.map((sibling) => packages[`node_modules/${sibling}`]?.version).find(Boolean);
  const version = /^\d/.test(wanted) ? wanted : installed;
  if (!os || !cpu || !version) return null;
  const libc = platform.includes('musl') ? 'musl' : os === 'linux' && platform.includes('gnu') ? 'glibc' : null;
  return { version, cpu: [cpu], ...(dev && { dev }), ...(libc && { libc: [libc] }), optional: true, os: [os] };
}
