/**
 * Where a tenant's state is in Redis. All its keys share one hash tag, so they are on one node of a cluster and one script may touch them all.
 * The tag is a digest, because a tenant id such as `}x`, `a:b` or `a}b` would end the tag or look like another tenant's key.
 * The layout's number is part of every key: a program that lays state out otherwise never reads this one wrong.
 */
import { digest128 } from '#libs/kernel/index.js';

/** Raise it when what the scripts store changes its meaning. */
export const STATE_LAYOUT = 2;
const PREFIX = `tollgate:q${STATE_LAYOUT}`;
const PARTS = ['state', 'counters', 'holds', 'calls', 'ends', 'slots', 'resolved', 'ticket'] as const;
const SLOTS = 16_384;
const MAX_CACHED = 50_000;

export interface TenantKeys {
  /** In the order of tenant.lua. */
  readonly keys: readonly string[];
  /** The hash slot they are in. */
  readonly slot: number;
}

const cached = new Map<string, TenantKeys>();

export function tenantKeys(tenantId: string): TenantKeys {
  const known = cached.get(tenantId);
  if (known) return known;
  const tag = digest128('quota.tenant', tenantId).toString('base64url');
  const found = { keys: PARTS.map((part) => `${PREFIX}:{${tag}}:${part}`), slot: slotOfTag(tag) };
  if (cached.size >= MAX_CACHED) cached.clear();
  cached.set(tenantId, found);
  return found;
}

/** The index of next ends: tenants by when one of their holds runs out. One per node, under a tag of one of the node's slots. */
export function indexKey(ownsSlot: (slot: number) => boolean): string {
  return `${PREFIX}:{${tagOn(ownsSlot)}}:ends-by-tenant`;
}

/** Under which epoch a node's state was made. */
export function markerKey(ownsSlot: (slot: number) => boolean): string {
  return `${PREFIX}:{${tagOn(ownsSlot)}}:epoch`;
}

function tagOn(ownsSlot: (slot: number) => boolean): number {
  for (let tag = 0; tag < 100 * SLOTS; tag += 1) if (ownsSlot(slotOfTag(String(tag)))) return tag;
  return 0;
}

/** CRC16 (XMODEM) of the tag modulo 16,384: redis.io/docs/reference/cluster-spec, "Key distribution model". */
export function slotOfTag(tag: string): number {
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80_00 ? ((crc << 1) ^ 0x10_21) & 0xff_ff : (crc << 1) & 0xff_ff;
  }
  return crc % SLOTS;
}
