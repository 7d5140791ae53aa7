/** Which reader understands which gateway's items: the one place that names them all. */
import type { Json } from '#libs/kernel/index.js';
import type { Gateway, Source } from '../domain/source.js';
import type { ReadOutcome } from '../domain/spend-event.js';
import { readApiEvent, stripApiEvent } from './api.js';
import { attributionPathProblem, readLiteLlm, stripLiteLlm } from './litellm.js';

/** Reads one item of `source`'s gateway. Never throws. */
export function readItem(source: Source, item: Json): ReadOutcome {
  switch (source.gateway) {
    case 'api':
      return readApiEvent(item);
    case 'litellm':
      return readLiteLlm(item, source.attribution);
  }
}

/** Why `path` can never answer in this gateway's payload, or null. */
export function pathProblem(gateway: Gateway, path: string): string | null {
  switch (gateway) {
    case 'api':
      return 'does not apply to our own event format, whose fields have fixed names';
    case 'litellm':
      return attributionPathProblem(path);
  }
}

/** The item without prompts, answers and call parameters, as dead letters keep it. */
export function stripItem(gateway: Gateway, item: Json): Json {
  switch (gateway) {
    case 'api':
      return stripApiEvent(item);
    case 'litellm':
      return stripLiteLlm(item);
  }
}
