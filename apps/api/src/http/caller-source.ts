import { DomainError } from '#libs/kernel/index.js';
import type { Gateway, Source, SourceDirectory } from '#libs/metering/index.js';
import type { Caller } from '#libs/tenancy/index.js';

/**
 * The source a call speaks for: the one its key is bound to, else the one the path names.
 * @throws DomainError source.not_found when there is none, source.foreign when the key is bound to another, source.other_gateway
 */
export async function callerSource(sources: SourceDirectory, caller: Caller, asked: string, gateway: Gateway): Promise<Source> {
  const isShortForm = asked === gateway;
  if (caller.sourceId !== null && caller.sourceId !== asked && !isShortForm) {
    throw new DomainError({ code: 'source.foreign', kind: 'forbidden', publicMessage: 'this key belongs to another source' });
  }
  const source = await sources.find(caller.sourceId ?? asked);
  if (!source)
    throw new DomainError({ code: 'source.not_found', kind: 'not_found', publicMessage: 'there is no such source; make it with PUT /v1/sources/{source_id}' });
  if (source.gateway !== gateway) {
    throw new DomainError({ code: 'source.other_gateway', kind: 'conflict', publicMessage: `this source speaks ${source.gateway}, not ${gateway}` });
  }
  return source;
}
