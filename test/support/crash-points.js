/**
 * Loaded into the server of a crash tree (scripts/build-crash-tree.mjs). A mark is one side of one await, or a commit that has left for
 * PostgreSQL and whose answer has not come. Told to, the process kills itself at a mark and says which marks it passed since anything
 * lasting left or came: a commit, a write outside a transaction, their answers, anything on another connection, an answer to a client. What
 * lies between is asked of the database or rolled back: to everybody outside it is the same moment, so that one death stands for all of it.
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
/** Marks since anything lasting left or came. */
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
/** Connections of the pool, and those of them that owe the answer to something lasting. */
const pooled = new WeakSet();
const answering = new WeakSet();
const { query } = pg.Client.prototype;
pg.Client.prototype.query = function sent(statement, ...rest) {
  if (this.connectionParameters.application_name !== 'tollgate') return query.call(this, statement, ...rest);
  const { stream } = this.connection;
  const text = textOf(statement).trim();
  const lasts = text === 'COMMIT' || (!inTransaction.has(this) && !/^(BEGIN|ROLLBACK|SELECT|SET)\b/.test(text));
  if (text === 'BEGIN') inTransaction.add(this);
  if (/^(COMMIT|ROLLBACK)$/.test(text)) inTransaction.delete(this);
  pooled.add(stream);
  if (lasts) {
    answering.add(stream);
    // Several parts may come before the last, which is the one that says that it lasts.
    this.connection.once('readyForQuery', () => answering.delete(stream));
    nextMoment();
  }
  const running = query.call(this, statement, ...rest);
  if (lasts && mode !== 'off') reach(`sent ${(statement.name ?? text).split(/\s+/).slice(0, 9).join(' ')}${text === 'COMMIT' ? ` < ${caller()}` : ''}`);
  return running;
};

/** Rows sent by COPY come without a text of their own. */
function textOf(statement) {
  if (typeof statement === 'string') return statement;
  return statement.text ?? `COPY ${statement.tables.map(({ table }) => table).join(' ')}`;
}

const { push, write } = Socket.prototype;
Socket.prototype.write = function leaving(...args) {
  if (!pooled.has(this)) nextMoment();
  return write.apply(this, args);
};
Socket.prototype.push = function coming(...args) {
  if (!pooled.has(this) || answering.has(this)) nextMoment();
  return push.apply(this, args);
};

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
