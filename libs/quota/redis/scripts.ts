/**
 * The store's scripts, put together from files: `-- @include x.lua` is replaced by that fragment, once. A script is called by its digest,
 * so two versions of the program run side by side with a script each.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface Script {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
}

const ALLOW_OOM = ' flags=allow-oom';
const INCLUDE = /^-- @include (\S+)\n/gm;

const read = (file: string): string => readFileSync(new URL(`./scripts/${file}`, import.meta.url), 'utf8');

/** Without a flag a script is refused whole when the server is out of memory; those that give back have to run then too. */
function script(name: string, flags = ''): Script {
  const text = `#!lua${flags}\n${read(`${name}.lua`).replaceAll(INCLUDE, (_line, file: string) => read(file))}`;
  return { name, text, sha: createHash('sha1').update(text).digest('hex') };
}

export const SCRIPTS = {
  reserve: script('reserve'),
  end: script('end', ALLOW_OOM),
  extend: script('extend'),
  applyBalance: script('apply-balance', ALLOW_OOM),
  applyBooked: script('apply-booked', ALLOW_OOM),
  expire: script('expire', ALLOW_OOM),
  beginLoad: script('begin-load'),
  load: script('load'),
  raiseCeiling: script('raise-ceiling'),
  grant: script('grant'),
  lowerLease: script('lower-lease', ALLOW_OOM),
  recorded: script('recorded', ALLOW_OOM),
  read: script('read', ALLOW_OOM),
  forget: script('forget', ALLOW_OOM),
  unindex: script('unindex', ALLOW_OOM),
} as const;
