/**
 * What the scripts are given, as text. Every number is checked here, because Lua's tonumber takes `nan`, `1e309` and `0x10`: integers of at
 * most 9e15 either way, which a double keeps exactly.
 */
import { InvariantError } from '#libs/kernel/index.js';
import type { CallFacts, Hold } from '../domain/hold.js';
import { counterOfLease, type LeaseGrant } from '../domain/lease.js';
import type { Claim, CounterDelta, HeldClaim, Lease, Metric, Window } from '../domain/limit.js';
import type { BookedBatch, ExtendCommand, LowerLease, ReserveCommand, TenantLeases, TenantSnapshot } from '../application/quota-store.js';
import type { WalletRule } from '../domain/wallet.js';

const LARGEST = 9_000_000_000_000_000n;
const INT64 = 9_223_372_036_854_775_807n;

export function integer(value: bigint | number): string {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new InvariantError(`not an integer: ${value}`);
  const exact = BigInt(value);
  if (exact > LARGEST || exact < -LARGEST) throw new InvariantError(`beyond 9e15: ${exact}`);
  return exact.toString();
}

/** For what the scripts only pass on or clamp. */
export function large(value: bigint): string {
  if (value > INT64 || value < -INT64) throw new InvariantError(`beyond 64 bits: ${value}`);
  return value.toString();
}

const METRIC_CODES: Readonly<Record<Metric, string>> = { usd: 'u', tokens: 't', requests: 'r', concurrent: 'c' };

function windowCodes(window: Window): [string, string] {
  if (window.kind === 'rolling') return ['r', integer(window.bucketMs)];
  if (window.kind === 'concurrent') return ['c', integer(window.ttlMs)];
  return ['f', window.endsAtMs === null ? '-1' : integer(window.endsAtMs)];
}

function claimArguments(claims: readonly Claim[]): string[] {
  return [
    String(claims.length),
    ...claims.flatMap((claim) => [
      claim.counter,
      METRIC_CODES[claim.metric],
      ...windowCodes(claim.window),
      integer(claim.amount),
      claim.downgradeAt === null ? '' : integer(claim.downgradeAt),
      claim.blockAt === null ? '' : integer(claim.blockAt),
      String((claim.rate ? 1 : 0) + (claim.enforced ? 2 : 0) + (claim.silent ? 4 : 0) + (claim.lease === undefined ? 0 : leaseFlags(claim.lease))),
    ]),
  ];
}

/** Beside the other flags, so that a claim that shares nothing is not longer for it. */
function leaseFlags({ block, downgrade, isFinal }: Lease): number {
  return 8 + (isFinal ? 16 : 0) + 32 * (block ?? 0) + 65_536 * (downgrade ?? 0);
}

function heldClaimArguments(claims: readonly HeldClaim[]): string[] {
  return [
    String(claims.length),
    ...claims.flatMap((claim) => [claim.counter, METRIC_CODES[claim.metric], ...windowCodes(claim.window), integer(claim.amount)]),
  ];
}

function counterArguments(counters: readonly CounterDelta[]): string[] {
  return [
    String(counters.length),
    ...counters.flatMap(({ counter, window, atMs, amount }) => [counter, ...windowCodes(window), integer(atMs), integer(amount)]),
  ];
}

const flag = (value: boolean): string => (value ? '1' : '0');
const credit = (rule: WalletRule): string => (rule.creditLimitNano === null ? '' : large(rule.creditLimitNano));

/** As short as it gets: the store keeps it for every open hold and never looks into it. */
export function factsText(facts: CallFacts | null): string {
  return facts === null
    ? ''
    : JSON.stringify([
        facts.callId,
        facts.provider,
        facts.model,
        facts.requestedModel,
        facts.inputTokens,
        facts.maxOutputTokens,
        facts.userId,
        facts.feature,
        facts.environment,
        facts.assistantId,
        facts.threadId,
        facts.apiKeyId,
        facts.requestId,
        facts.priceVersion,
        facts.tags,
        facts.sourceId,
        facts.terms,
      ]);
}

export function reserveArguments(command: ReserveCommand): string[] {
  return [
    command.holdId,
    integer(command.rulesRevision),
    command.callDigest ?? '',
    command.bodyHash ?? '',
    command.policy,
    integer(command.nowMs + command.ttlMs),
    credit(command.rule),
    flag(command.enforce),
    flag(command.strict),
    command.kind ?? 'call',
    String(command.candidates.length),
    ...command.candidates.flatMap(({ amountNano, facts, claims }) => [integer(amountNano), factsText(facts), ...claimArguments(claims)]),
  ];
}

export function extendArguments(command: ExtendCommand): string[] {
  return [
    command.holdId,
    integer(command.amountNano),
    integer(command.expiresAtMs),
    credit(command.rule),
    flag(command.enforce),
    flag(command.strict),
    factsText(command.facts),
    ...claimArguments(command.claims),
  ];
}

export function bookedArguments(batch: BookedBatch): string[] {
  return [
    integer(batch.seq),
    String(batch.captures.length),
    ...batch.captures.flatMap((capture) => [
      capture.holdId ?? '',
      capture.callDigest ?? '',
      integer(capture.signedNano),
      integer(capture.signedTokens),
      integer(capture.signedRequests),
      flag(capture.closes),
      flag(capture.provisional),
    ]),
    ...counterArguments(batch.counters),
  ];
}

function holdArguments(hold: Hold): string[] {
  return [
    hold.holdId,
    hold.state,
    hold.resolution ?? '',
    integer(hold.amountNano),
    integer(hold.capturedNano),
    integer(hold.capturedTokens),
    integer(hold.capturedRequests),
    hold.policy,
    hold.kind,
    integer(hold.createdAtMs),
    integer(hold.expiresAtMs),
    hold.resolvedAtMs === null ? '-1' : integer(hold.resolvedAtMs),
    hold.callDigest ?? '',
    hold.bodyHash ?? '',
    factsText(hold.facts),
    ...heldClaimArguments(hold.claims),
  ];
}

export function loadArguments(snapshot: TenantSnapshot, ticket: string): string[] {
  return [
    ticket,
    integer(snapshot.seq),
    large(snapshot.postedNano),
    large(snapshot.ceilingNano),
    integer(snapshot.ceilingNano - snapshot.promisedNano),
    integer(snapshot.bookedSeq),
    integer(snapshot.rulesRevision),
    integer(snapshot.fencedUntilMs),
    String(snapshot.holds.length),
    ...snapshot.holds.flatMap(holdArguments),
    String(snapshot.recentCalls.length),
    ...snapshot.recentCalls.flatMap((call) => [call.callDigest, integer(call.resolvedAtMs)]),
    ...counterArguments(snapshot.counters),
    ...leaseArguments(snapshot.leases ?? { from: 0n, grants: [] }),
  ];
}

const endOf = (endsAtMs: number | null): string => (endsAtMs === null ? '-1' : integer(endsAtMs));

function leaseArguments({ from, grants }: TenantLeases): string[] {
  const told = grants.flatMap(({ lease, endsAtMs, granted, fenced, version }) => [lease, endOf(endsAtMs), integer(granted), integer(fenced), integer(version)]);
  return [integer(from), String(grants.length), ...told];
}

export function grantArguments(grants: readonly LeaseGrant[]): string[] {
  return grants.flatMap(({ lease, endsAtMs, granted, version }) => [lease, endOf(endsAtMs), integer(granted), integer(version)]);
}

export function lowerArguments({ grant, atMost, onlyAt, nextVersion, rulesRevision }: LowerLease): string[] {
  const { lease, endsAtMs, granted, version } = grant;
  const orNone = (value: bigint | null): string => (value === null ? '' : integer(value));
  const bounds = [orNone(atMost), orNone(onlyAt), integer(nextVersion), integer(rulesRevision)];
  return [lease, counterOfLease(lease), endOf(endsAtMs), integer(granted), integer(version), ...bounds];
}

export function readArguments(input: { holdId?: string; claims?: readonly Claim[]; rulesRevision?: number }): string[] {
  const { claims } = input;
  return [
    input.holdId ?? '',
    input.rulesRevision === undefined ? '' : integer(input.rulesRevision),
    ...(claims === undefined ? ['0'] : claimArguments(claims)),
  ];
}
