/**
 * Who may call a route is declared on the route and checked in one place (authentication.ts). A route that declares nothing keeps the
 * process from starting: forgetting the line must not open a door.
 */
import { applyDecorators, createParamDecorator, type CustomDecorator, type ExecutionContext } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBearerAuth, ApiSecurity } from '@nestjs/swagger';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { InvariantError } from '#libs/kernel/index.js';
import type { Caller, Scope } from '#libs/tenancy/index.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; null on public routes. */
    caller: Caller | null;
  }
  interface FastifyContextConfig {
    access?: RouteAccess;
  }
}

export type RouteAccess =
  | { readonly kind: 'public' }
  | {
      readonly kind: 'scoped';
      readonly scope: Scope;
      readonly boundKeys: BoundKeys;
      /** Gateways ask here: what they can send as a key is taken. */
      readonly gatewayKeys: boolean;
    };

/** Its name in the OpenAPI document. */
export const GATEWAY_KEY = 'gateway_key';

/**
 * What a key bound to one tenant or source may do on an admin route whose path names no tenant:
 * `refuse` answers 403; `checked` says that the controller itself keeps the key inside its tenant.
 * Where the path has `:tenant_id`, a foreign tenant's key always gets the 404 of a missing tenant, before the handler runs.
 */
export type BoundKeys = 'refuse' | 'checked';

/**
 * The scope a key needs for this route; the scope `admin` includes the others for keys sent in the Authorization header.
 * `textBody` gives the route its JSON body as UTF-8 text: for gateways that send NDJSON and call it application/json.
 * `gatewayAsks` is for the dialects of authorize: the key may come as `x-tollgate-key` or `x-api-key`, and the body is given as bytes, whatever it is.
 */
export function RequireScope(scope: Scope, options: { boundKeys?: BoundKeys; textBody?: boolean; gatewayAsks?: boolean } = {}): MethodDecorator {
  const gatewayKeys = options.gatewayAsks ?? false;
  const access: RouteAccess = { kind: 'scoped', scope, boundKeys: options.boundKeys ?? (scope === 'admin' ? 'refuse' : 'checked'), gatewayKeys };
  return applyDecorators(
    RouteConfig({ access, bodyAsText: options.textBody ?? false, anyBody: gatewayKeys }),
    ApiBearerAuth(),
    ...(gatewayKeys ? [ApiSecurity(GATEWAY_KEY)] : []),
  );
}

/** A route that needs no key: health, documents, and webhooks whose signature the handler verifies. */
export function PublicRoute(): CustomDecorator<string> {
  return RouteConfig({ access: { kind: 'public' } satisfies RouteAccess });
}

/** Who sent an authenticated request. @throws InvariantError on a public route */
export function callerOf(request: FastifyRequest): Caller {
  if (request.caller === null) throw new InvariantError('a caller is asked for on a route without RequireScope');
  return request.caller;
}

/** Injects the authenticated {@link Caller}. */
export const CurrentCaller = createParamDecorator((_data: unknown, context: ExecutionContext): Caller =>
  callerOf(context.switchToHttp().getRequest<FastifyRequest>()),
);

/** Injects the id this request carries in logs, audit entries and answers. */
export const RequestId = createParamDecorator((_data: unknown, context: ExecutionContext): string => context.switchToHttp().getRequest<FastifyRequest>().id);

/** Makes the boot fail on a route without declared access. Must run before any route is added. */
export function refuseUndeclaredRoutes(instance: FastifyInstance): void {
  instance.addHook('onRoute', (route) => {
    if (route.config?.access === undefined)
      throw new InvariantError(`${String(route.method)} ${route.url} declares no access: add @RequireScope(...) or @PublicRoute()`);
  });
}
