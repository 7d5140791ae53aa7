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

const INCLUDE = /^-- @include (\S+)\n/gm;

const read = (file: string): string => readFileSync(new URL(`./scripts/${file}`, import.meta.url), 'utf8');

function script(name: string): Script {
  const text = read(`${name}.lua`).replaceAll(INCLUDE, (_line, file: string) => read(file));
  return { name, text, sha: createHash('sha1').update(text).digest('hex') };
}

export const SCRIPTS = {
  reserve: script('reserve'),
  end: script('end'),
  extend: script('extend'),
  applyBalance: script('apply-balance'),
  applyBooked: script('apply-booked'),
  expire: script('expire'),
  beginLoad: script('begin-load'),
  load: script('load'),
  raiseCeiling: script('raise-ceiling'),
  recorded: script('recorded'),
  read: script('read'),
  forget: script('forget'),
  unindex: script('unindex'),
} as const;
