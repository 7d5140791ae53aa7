/**
 * Authenticates before the body is read: a stranger's 8 MiB are never parsed. Keys travel in the Authorization header; the three other
 * carriers exist for senders that can set nothing else, so they open ingest routes only, and only for keys that hold the ingest scope
 * and not the admin scope (an admin key pasted into a URL stays useless). The dialects of authorize take headers only, by the same rule: a gateway that
 * forwards its client's Authorization puts ours into `x-tollgate-key`, which therefore comes first.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DomainError } from '#libs/kernel/index.js';
import type { AuthenticateCaller, Caller } from '#libs/tenancy/index.js';
import type { RouteAccess } from './access.js';
import { assertTenantAccess } from './tenant-access.js';

type Credential = { readonly rawKey: string; readonly carrier: 'bearer' | 'weak' };

const MAX_KEY_LENGTH = 256;
const GATEWAY_KEY_HEADER = 'x-tollgate-key';

/** Installs the check for every route. */
export function registerAuthentication(instance: FastifyInstance, authenticate: AuthenticateCaller): void {
  instance.decorateRequest('caller', null);
  instance.addHook('onRequest', async (request) => {
    const access = request.routeOptions.config.access;
    // Unknown routes have no access entry; they end in the 404 handler.
    if (access === undefined || access.kind === 'public') return;
    request.caller = await admit(authenticate, request, access);
  });
}

async function admit(authenticate: AuthenticateCaller, request: FastifyRequest, access: RouteAccess & { kind: 'scoped' }): Promise<Caller> {
  const ingest = access.scope === 'ingest';
  const credential = access.gatewayKeys ? readGatewayCredential(request) : readCredential(request, ingest);
  // The key is no parameter of the route: its query schema would refuse it as unknown.
  if (ingest) delete (request.query as { key?: unknown }).key;
  if (credential === null) throw refused('auth.missing', 'send a key as "Authorization: Bearer tg_..."');
  const caller = credential.rawKey.length > MAX_KEY_LENGTH ? null : await authenticate.execute(credential.rawKey);
  if (caller === null) throw refused('auth.invalid', 'the key is unknown, expired or revoked');
  const isAdmin = caller.scopes.has('admin');
  if (isAdmin && credential.carrier === 'weak')
    throw new DomainError({
      code: 'auth.weak_carrier',
      kind: 'forbidden',
      publicMessage: 'send a key with the scope "admin" as "Authorization: Bearer tg_..." only',
    });
  if (!isAdmin && !caller.scopes.has(access.scope))
    throw new DomainError({ code: 'auth.scope_missing', kind: 'forbidden', publicMessage: `this route needs a key with the scope "${access.scope}"` });
  const tenantId = (request.params as { tenant_id?: string } | null)?.tenant_id;
  if (tenantId !== undefined) assertTenantAccess(caller, tenantId);
  else if (access.boundKeys === 'refuse' && (caller.tenantId !== null || caller.sourceId !== null)) {
    throw new DomainError({ code: 'auth.bound_key', kind: 'forbidden', publicMessage: 'this route is not for keys bound to one tenant or source' });
  }
  return caller;
}

function readGatewayCredential(request: FastifyRequest): Credential | null {
  const own = request.headers[GATEWAY_KEY_HEADER];
  if (typeof own === 'string' && own !== '') return { rawKey: own, carrier: 'weak' };
  const bearer = readCredential(request, false);
  if (bearer !== null) return bearer;
  const header = request.headers['x-api-key'];
  return typeof header === 'string' && header !== '' ? { rawKey: header, carrier: 'weak' } : null;
}

function readCredential(request: FastifyRequest, ingest: boolean): Credential | null {
  const query = request.query as { key?: unknown };
  const authorization = request.headers.authorization ?? '';
  const bearer = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
  if (bearer !== undefined) return { rawKey: bearer, carrier: 'bearer' };
  if (!ingest) return null;
  const header = request.headers['x-api-key'];
  if (typeof header === 'string' && header !== '') return { rawKey: header, carrier: 'weak' };
  const basic = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization)?.[1];
  if (basic !== undefined) return { rawKey: keyOfBasic(basic), carrier: 'weak' };
  const { key } = query;
  return typeof key === 'string' && key !== '' ? { rawKey: key, carrier: 'weak' } : null;
}

/** The password, or the user name where the sender has only that field. */
function keyOfBasic(encoded: string): string {
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const password = colon === -1 ? '' : text.slice(colon + 1);
  return password === '' ? text.slice(0, colon === -1 ? undefined : colon) : password;
}

function refused(code: string, publicMessage: string): DomainError {
  return new DomainError({ code, kind: 'unauthenticated', publicMessage });
}
