/** The API's own words, snake_case as on the wire, taken from the generated types. Money is text in USD, never a number. */
import type { components, operations } from './api-types.js';

type BodyOf<Operation> = Operation extends { requestBody: { content: { 'application/json': infer Body } } } ? Body : never;
type Open<Known extends string> = Known | (string & {});

type AskedCall = BodyOf<operations['AuthorizeController_authorize[0]']>;
type Answer = components['schemas']['Decision'];

/** What is asked before a call. The tenant is not optional: a call without one is nobody's. */
export type AuthorizeRequest = Omit<AskedCall, 'tenant_id'> & { tenant_id: string };

/** The answer. A newer server may know further reason codes. */
export type Decision = Omit<Answer, 'reason'> & { reason: Omit<Answer['reason'], 'code'> & { code: ReasonCode } };
export type ReasonCode = Open<Answer['reason']['code']>;

export type Hold = components['schemas']['Hold'];
export type SettleRequest = Omit<BodyOf<operations['HoldsController_settle']>, 'final'> & { final?: boolean };
export type SettledHold = components['schemas']['SettledHold'];
export type ExtendRequest = BodyOf<operations['HoldsController_extend']>;
export type SpendEvent = Exclude<BodyOf<operations['EventsController_record']>, readonly unknown[]>;
export type Usage = NonNullable<SpendEvent['usage']>;
export type RecordedEvents = components['schemas']['RecordedEvents'];
export type Balance = components['schemas']['Balance'];
