/** Which reader understands which gateway's items: the one place that names them all. */
import type { Json } from '#libs/kernel/index.js';
import type { Gateway, Source } from '../domain/source.js';
import type { ReadOutcome } from '../domain/spend-event.js';
import { readApiEvent, stripApiEvent } from './api.js';
import { readLiteLlm, stripLiteLlm } from './litellm.js';

/** Reads one item of `source`'s gateway. Never throws. */
export function readItem(source: Source, item: Json): ReadOutcome {
  switch (source.gateway) {
    case 'api':
      return readApiEvent(item);
    case 'litellm':
      return readLiteLlm(item, source.attribution);
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
