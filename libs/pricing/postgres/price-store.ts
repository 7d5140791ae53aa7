import { formatPrice, parsePrice, type FemtoPrice } from '../../kernel/index.js';
import type { Sql } from '../../platform/postgres/database.js';
import { PriceStore, type PageOf, type StoredAlias } from '../application/ports.js';
import type { OverrideRevision } from '../domain/price-override.js';
import type { PriceDecisions } from '../domain/price-snapshot.js';
import { formatMarkup, parseMarkup, type RateCardPrices, type RateCardRevision } from '../domain/rate-card.js';
import type { Component } from '../domain/usage.js';

const OVERRIDE = 'override_id, revision, provider, model, prices, effective_from, effective_to, created_at';
const CARD = 'rate_card_id, revision, markup_percent::text AS markup_percent, prices, created_at';
const ALIAS = 'source_id, alias, provider, model, learned, updated_at';

export class PostgresPriceStore extends PriceStore {
  override async revision(sql: Sql): Promise<bigint> {
    const [row] = await sql.query<{ revision: bigint }>({ name: 'pricing.revision', text: 'SELECT revision FROM pricing.decision_count' });
    return row?.revision ?? 0n;
  }

  override async readAll(sql: Sql): Promise<PriceDecisions> {
    const overrides = await sql.query<OverrideRow>(`SELECT ${OVERRIDE} FROM pricing.price_override ORDER BY override_id, revision`);
    const cards = await sql.query<CardRow>(`SELECT ${CARD} FROM pricing.rate_card ORDER BY rate_card_id, revision`);
    const aliases = await sql.query<AliasRow>(`SELECT ${ALIAS} FROM pricing.model_alias ORDER BY source_id, alias, provider, model`);
    return { overrides: overrides.map(toOverride), rateCards: cards.map(toRateCard), aliases: aliases.map(toAlias) };
  }

  override async lock(tx: Sql): Promise<void> {
    await tx.execute('UPDATE pricing.decision_count SET revision = revision + 1');
  }

  override async overrideRevisions(sql: Sql, overrideId: string): Promise<OverrideRevision[]> {
    return (await sql.query<OverrideRow>(`SELECT ${OVERRIDE} FROM pricing.price_override WHERE override_id = $1 ORDER BY revision`, [overrideId])).map(
      toOverride,
    );
  }

  override async insertOverride(tx: Sql, override: OverrideRevision): Promise<void> {
    await tx.execute(`INSERT INTO pricing.price_override (${OVERRIDE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, [
      override.overrideId,
      override.revision,
      override.provider,
      override.model,
      JSON.stringify(printPrices(override.prices)),
      override.effectiveFrom,
      override.effectiveTo,
      override.createdAt,
    ]);
  }

  override async listOverrides(sql: Sql, page: PageOf<string>): Promise<OverrideRevision[]> {
    const rows = await sql.query<OverrideRow>(
      `SELECT DISTINCT ON (override_id) ${OVERRIDE} FROM pricing.price_override
        WHERE ($1::text IS NULL OR override_id > $1) ORDER BY override_id, revision DESC LIMIT $2`,
      [page.after, page.limit],
    );
    return rows.map(toOverride);
  }

  override async rateCardRevisions(sql: Sql, rateCardId: string): Promise<RateCardRevision[]> {
    return (await sql.query<CardRow>(`SELECT ${CARD} FROM pricing.rate_card WHERE rate_card_id = $1 ORDER BY revision`, [rateCardId])).map(toRateCard);
  }

  override async insertRateCard(tx: Sql, card: RateCardRevision): Promise<void> {
    await tx.execute('INSERT INTO pricing.rate_card (rate_card_id, revision, markup_percent, prices, created_at) VALUES ($1, $2, $3, $4, $5)', [
      card.rateCardId,
      card.revision,
      formatMarkup(card.markup),
      JSON.stringify(card.prices.map((entry) => ({ provider: entry.provider, model: entry.model, prices: printPrices(entry.prices) }))),
      card.createdAt,
    ]);
  }

  override async listRateCards(sql: Sql, page: PageOf<string>): Promise<RateCardRevision[]> {
    const rows = await sql.query<CardRow>(
      `SELECT DISTINCT ON (rate_card_id) ${CARD} FROM pricing.rate_card
        WHERE ($1::text IS NULL OR rate_card_id > $1) ORDER BY rate_card_id, revision DESC LIMIT $2`,
      [page.after, page.limit],
    );
    return rows.map(toRateCard);
  }

  override async findSetAlias(sql: Sql, sourceId: string, alias: string): Promise<StoredAlias | null> {
    const [row] = await sql.query<AliasRow>(`SELECT ${ALIAS} FROM pricing.model_alias WHERE source_id = $1 AND alias = $2 AND NOT learned`, [sourceId, alias]);
    return row === undefined ? null : toAlias(row);
  }

  override async setAlias(tx: Sql, alias: StoredAlias): Promise<void> {
    await tx.execute('DELETE FROM pricing.model_alias WHERE source_id = $1 AND alias = $2 AND NOT learned', [alias.sourceId, alias.alias]);
    await tx.execute(
      `INSERT INTO pricing.model_alias (${ALIAS}) VALUES ($1, $2, $3, $4, false, $5)
       ON CONFLICT (source_id, alias, provider, model) DO UPDATE SET learned = false, updated_at = excluded.updated_at`,
      [alias.sourceId, alias.alias, alias.provider, alias.model, alias.updatedAt],
    );
  }

  override async addLearnedAliases(tx: Sql, aliases: readonly StoredAlias[]): Promise<number> {
    return await tx.execute(
      `INSERT INTO pricing.model_alias (${ALIAS})
       SELECT source_id, alias, provider, model, true, updated_at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS seen (source_id, alias, provider, model, updated_at)
       ON CONFLICT DO NOTHING`,
      [
        aliases.map((alias) => alias.sourceId),
        aliases.map((alias) => alias.alias),
        aliases.map((alias) => alias.provider),
        aliases.map((alias) => alias.model),
        aliases.map((alias) => alias.updatedAt),
      ],
    );
  }

  override async listAliases(sql: Sql, page: PageOf<readonly [string, string, string, string]>): Promise<StoredAlias[]> {
    const [alias, sourceId, provider, model] = page.after ?? [null, null, null, null];
    const rows = await sql.query<AliasRow>(
      `SELECT ${ALIAS} FROM pricing.model_alias
        WHERE $1::text IS NULL OR (alias, source_id, provider, model) > ($1, $2::text, $3::text, $4::text)
        ORDER BY alias, source_id, provider, model LIMIT $5`,
      [alias, sourceId, provider, model, page.limit],
    );
    return rows.map(toAlias);
  }
}

interface OverrideRow {
  override_id: string;
  revision: number;
  provider: string;
  model: string;
  prices: Record<string, string>;
  effective_from: Date;
  effective_to: Date | null;
  created_at: Date;
}

interface CardRow {
  rate_card_id: string;
  revision: number;
  markup_percent: string;
  prices: { provider: string | null; model: string | null; prices: Record<string, string> }[];
  created_at: Date;
}

interface AliasRow {
  source_id: string;
  alias: string;
  provider: string;
  model: string;
  learned: boolean;
  updated_at: Date;
}

function toOverride(row: OverrideRow): OverrideRevision {
  return {
    overrideId: row.override_id,
    revision: row.revision,
    provider: row.provider,
    model: row.model,
    prices: readStored(row.prices),
    effectiveFrom: row.effective_from,
    effectiveTo: row.effective_to,
    createdAt: row.created_at,
  };
}

function toRateCard(row: CardRow): RateCardRevision {
  const prices = row.prices.map((entry): RateCardPrices => ({ provider: entry.provider, model: entry.model, prices: readStored(entry.prices) }));
  // numeric(9, 4) prints "15.0000".
  return { rateCardId: row.rate_card_id, revision: row.revision, markup: parseMarkup(row.markup_percent) ?? 0n, prices, createdAt: row.created_at };
}

function toAlias(row: AliasRow): StoredAlias {
  return { sourceId: row.source_id, alias: row.alias, provider: row.provider, model: row.model, learned: row.learned, updatedAt: row.updated_at };
}

function readStored(prices: Readonly<Record<string, string>>): Map<Component, FemtoPrice> {
  return new Map(Object.entries(prices).map(([component, text]) => [component as Component, parsePrice(text)]));
}

function printPrices(prices: ReadonlyMap<Component, FemtoPrice>): Record<string, string> {
  return Object.fromEntries([...prices].map(([component, price]) => [component, formatPrice(price)]));
}
