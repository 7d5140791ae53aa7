import { parsePrice, type Nano } from '../../kernel/index.js';
import { readBaseBook } from '../catalogue/read-base-book.js';
import { BaseBook } from '../domain/base-book.js';
import type { OverrideRevision } from '../domain/price-override.js';
import { PriceSnapshot, type PriceDecisions, type RateQuery } from '../domain/price-snapshot.js';
import { parseMarkup, type RateCardRevision } from '../domain/rate-card.js';
import type { Component } from '../domain/usage.js';

const book = new BaseBook(readBaseBook());

/** The shipped list prices with `decisions` over them. */
export function snapshotWith(decisions: Partial<PriceDecisions> = {}): PriceSnapshot {
  return new PriceSnapshot(book, { overrides: [], rateCards: [], aliases: [], ...decisions });
}

/** A call of gpt-4o that consumed nothing, on 22 November 2026, at cost. */
export function aQuery(query: Partial<RateQuery> = {}): RateQuery {
  return {
    provider: 'openai',
    model: 'gpt-4o',
    requestedModel: null,
    sourceId: 'litellm',
    usage: {},
    at: new Date('2026-11-22T12:00:00Z'),
    rateCardId: null,
    free: false,
    reportedCostNano: null,
    ...query,
  };
}

export function pricesOf(prices: Readonly<Record<string, string>>): Map<Component, bigint> {
  return new Map(Object.entries(prices).map(([component, text]) => [component as Component, parsePrice(text)]));
}

export function anOverride(override: { prices: Readonly<Record<string, string>> } & Partial<Omit<OverrideRevision, 'prices'>>): OverrideRevision {
  return {
    overrideId: 'my',
    revision: 1,
    provider: 'openai',
    model: 'gpt-4o',
    effectiveFrom: new Date(0),
    effectiveTo: null,
    createdAt: new Date('2026-01-01T00:00:00Z'),
    ...override,
    prices: pricesOf(override.prices),
  };
}

export function aRateCard(
  card: { markup?: string; prices?: readonly { provider?: string; model?: string; prices: Readonly<Record<string, string>> }[] } & Partial<
    Pick<RateCardRevision, 'rateCardId' | 'revision' | 'createdAt'>
  > = {},
): RateCardRevision {
  return {
    rateCardId: card.rateCardId ?? 'std',
    revision: card.revision ?? 1,
    markup: parseMarkup(card.markup ?? '0') ?? 0n,
    prices: (card.prices ?? []).map((entry) => ({ provider: entry.provider ?? null, model: entry.model ?? null, prices: pricesOf(entry.prices) })),
    createdAt: card.createdAt ?? new Date('2026-01-01T00:00:00Z'),
  };
}

/** Nano-USD of a decimal written out: 0.005220000 reads better than 5220000n. */
export function nano(text: string): Nano {
  const [whole = '', fraction = ''] = text.split('.');
  return BigInt(whole + fraction.padEnd(9, '0'));
}
