/**
 * Loaded into the server of a crash tree (scripts/build-crash-tree.mjs). A mark is one side of one await, or a commit that has
 * left for PostgreSQL and whose answer has not come. Told to, the process kills itself at a mark and says which other marks it passed since its
 * last byte in or out: to everybody outside they are the same moment, so that one death stands for all of them.
 */
import { writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import pg from 'pg';

/** Shared plumbing: a mark in it is told apart by who called. */
const PLUMBING = /\/dist\/(libs\/platform\/|crash-points)/;
/** A process that is only stopped goes on after this, and has long been stopped by then. */
const SIGNAL_MS = 100;
const FRAME = /\/dist\/([^)]+?):(\d+):\d+/;

/** What it is told before it starts; later on by message. */
let { mode, target } = JSON.parse(process.env['CRASH_ORDER'] ?? '{"mode":"off"}');
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
  mode = 'off';
  process.kill(process.pid, target.signal);
  // The signal takes a moment; nothing may leave in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SIGNAL_MS);
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

const inTransaction = new WeakSet();
const { query } = pg.Client.prototype;
pg.Client.prototype.query = function sent(statement, ...rest) {
  const running = query.call(this, statement, ...rest);
  const text = (typeof statement === 'string' ? statement : (statement.text ?? '')).trim();
  const label = (statement.name ?? text).split(/\s+/).slice(0, 9).join(' ');
  const ends = /^(COMMIT|ROLLBACK)/.test(text);
  // What a death interrupts inside a transaction is rolled back, and a question changes nothing: neither makes a moment of its own.
  const lasts = text === 'COMMIT' || (!inTransaction.has(this) && /^(INSERT|UPDATE|DELETE|WITH)/.test(text));
  if (text === 'BEGIN') inTransaction.add(this);
  if (ends) inTransaction.delete(this);
  if (mode !== 'off' && lasts && this.connectionParameters.application_name === 'tollgate') reach(`sent ${ends ? `${label} < ${caller()}` : label}`);
  return running;
};

for (const door of ['write', 'push']) {
  const inherited = Socket.prototype[door];
  Socket.prototype[door] = function bytes(...args) {
    if (mode !== 'off') nextMoment();
    return inherited.apply(this, args);
  };
}

process.on('message', (message) => {
  ({ mode, target } = message);
  if (mode === 'off') nextMoment();
  process.send({ moments: mode === 'off' ? moments : [] });
  if (mode !== 'off') {
    moment = new Set();
    moments = [];
  }
});
// A test that is gone needs no server.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
