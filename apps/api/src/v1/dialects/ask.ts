/**
 * The one way from a dialect to the decision. Whatever the caller did wrong comes back as a refusal, because each dialect has its own
 * way to say no and several would take an error for a yes; only what is our failure is thrown, for the gateway's own failure mode.
 */
import { DomainError } from '#libs/kernel/index.js';
import { BUILT_IN_SOURCES, type Source, type SourceDirectory } from '#libs/metering/index.js';
import type { AuthorizeCall, AuthorizeInput } from '#libs/quota/index.js';
import type { Caller } from '#libs/tenancy/index.js';
import type { z } from 'zod';
import { toProblem, type Problem } from '../../http/problem.js';
import { assertTenantAccess } from '../../http/tenant-access.js';
import { fieldProblems, invalidRequest } from '../../http/validation.js';
import type { authorizeAnswer } from '../authorize/authorize.schemas.js';
import { authorizeBody } from '../authorize/authorize.schemas.js';
import { toAnswerWire, toAuthorizeInput } from '../authorize/authorize.wire.js';
import { invalidHeaders } from './question-headers.js';

export type Answer = z.infer<typeof authorizeAnswer>;
export type Outcome = { readonly kind: 'answered'; readonly answer: Answer } | { readonly kind: 'refused'; readonly problem: Problem };

export interface Ask {
  readonly caller: Caller;
  readonly source: Source | null;
  /** Whose names for models the call uses; '' is everybody's. */
  readonly sourceId: string;
  readonly canChange?: 'same_provider' | 'nothing' | undefined;
  /** Fields of the body of `POST /v1/authorize`, unchecked. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The header that a field was read from; absent: fields are named as in a body. */
  readonly headerOf?: (field: string) => string;
  /** A gateway's own id of the call may be used twice (a second target, a client's choice): ask again without it. */
  readonly callIdIsAHint?: boolean;
}

/** The source of a key, or the built-in one of our own API. */
export async function sourceOf(sources: SourceDirectory, caller: Caller): Promise<Source | null> {
  return await sources.find(caller.sourceId ?? BUILT_IN_SOURCES.api);
}

/** `read` throws what the caller did wrong. @throws DomainError of kind unavailable, and what is no DomainError: our failures */
export async function ask(authorize: AuthorizeCall, read: () => Ask): Promise<Outcome> {
  try {
    const question = read();
    return { kind: 'answered', answer: await answer(authorize, inputOf(question), question.callIdIsAHint ?? false) };
  } catch (error) {
    if (!(error instanceof DomainError) || error.kind === 'unavailable') throw error;
    return { kind: 'refused', problem: toProblem(error) };
  }
}

async function answer(authorize: AuthorizeCall, input: AuthorizeInput, callIdIsAHint: boolean): Promise<Answer> {
  try {
    return toAnswerWire(await authorize.execute(input), input, true);
  } catch (error) {
    const used = error instanceof DomainError && (error.code === 'quota.call_conflict' || error.code === 'quota.call_already_settled');
    if (!used || !callIdIsAHint) throw error;
    const anew = { ...input, callId: null };
    return toAnswerWire(await authorize.execute(anew), anew, true);
  }
}

function inputOf({ caller, source, sourceId, canChange, fields, headerOf }: Ask): AuthorizeInput {
  const checked = authorizeBody.safeParse(fields);
  if (!checked.success) {
    const problems = fieldProblems(checked.error.issues);
    throw headerOf === undefined ? invalidRequest(problems) : invalidHeaders(problems.map(({ path, message }) => ({ path: headerOf(path), message })));
  }
  const named = checked.data.tenant_id ?? null;
  if (named !== null) assertTenantAccess(caller, named);
  const input = toAuthorizeInput(checked.data, {
    // A tenant's own key names its tenant.
    tenantId: named ?? caller.tenantId,
    sourceId,
    maySetUpTenants: () => Promise.resolve(source !== null && source.trustTenant && source.onNewTenant === 'create'),
  });
  return {
    ...input,
    environment: input.environment ?? source?.defaults.environment ?? null,
    // A gateway may ask and then not call.
    inPath: false,
    ...(canChange === undefined ? {} : { canChange }),
  };
}
