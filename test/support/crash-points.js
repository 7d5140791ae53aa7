/**
 * Loaded into the server of a crash tree (scripts/build-crash-tree.mjs). A mark is one side of one await, or a statement that has left for
 * PostgreSQL and whose answer has not come. Told to, the process kills itself at a mark and says which other marks it passed since its
 * last byte in or out: to everybody outside they are the same moment, so that one death stands for all of them.
 */
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import pg from 'pg';

/** Shared plumbing: a mark in it is told apart by who called. */
const PLUMBING = /\/dist\/(libs\/platform\/|crash-points)/;
const FRAME = /\/dist\/([^)]+?):(\d+):\d+/;

let mode = 'off';
let target = { mark: '', file: '' };
/** Marks since the last byte in or out. */
let moment = new Set();
let moments = [];

/** Before the operand of an await is evaluated. */
export function before(point) {
  if (mode !== 'off') reach(`before ${qualified(point)}`);
}

/** After an await has its value. */
export function after(point, value) {
  if (mode !== 'off') reach(`after ${qualified(point)}`);
  return value;
}

function reach(mark) {
  moment.add(mark);
  if (mode !== 'armed' || mark !== target.mark) return;
  writeFileSync(target.file, JSON.stringify([...moment]));
  process.kill(process.pid, 'SIGKILL');
  // The signal takes a moment; nothing may leave in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function nextMoment() {
  if (moment.size === 0) return;
  if (mode === 'recording') moments.push([...moment]);
  moment = new Set();
}

function qualified(point) {
  return point.startsWith('libs/platform/') ? `${point} < ${caller()}` : point;
}

/** The nearest function on the asynchronous stack that is no plumbing. */
function caller() {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  const frames = (new Error('stack').stack ?? '').split('\n');
  Error.stackTraceLimit = limit;
  const frame = frames.find((line) => FRAME.test(line) && !PLUMBING.test(line));
  const [, file, line] = frame === undefined ? [] : (FRAME.exec(frame) ?? []);
  return file === undefined ? 'nobody' : `${file}:${line}`;
}

const { query } = pg.Client.prototype;
pg.Client.prototype.query = function sent(statement, ...rest) {
  const running = query.call(this, statement, ...rest);
  if (mode !== 'off' && this.connectionParameters.application_name === 'tollgate') reach(`sent ${labelOf(statement)}`);
  return running;
};

function labelOf(statement) {
  const text = typeof statement === 'string' ? statement : (statement.name ?? statement.text ?? '');
  const label = text.trim().split(/\s+/).slice(0, 9).join(' ');
  return /^(BEGIN|COMMIT|ROLLBACK)$/.test(label) ? `${label} < ${caller()}` : label;
}

for (const door of ['write', 'push']) {
  const inherited = Socket.prototype[door];
  Socket.prototype[door] = function bytes(...args) {
    if (mode !== 'off') nextMoment();
    return inherited.apply(this, args);
  };
}

process.on('message', (message) => {
  ({ mode } = message);
  if (mode === 'armed') ({ target } = message);
  if (mode === 'off') nextMoment();
  process.send({ moments: mode === 'off' ? moments : [] });
  if (mode !== 'off') {
    moment = new Set();
    moments = [];
  }
});
// A test that is gone needs no server.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
