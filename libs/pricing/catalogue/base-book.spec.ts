import { execFileSync } from 'node:child_process';
import { calcPrice } from '@pydantic/genai-prices';
import { formatPrice, parsePrice } from '../../kernel/index.js';
import { BaseBook, type BaseBookFile } from '../domain/base-book.js';
import { aQuery, snapshotWith } from '../testing/price-decisions.js';
import { readBaseBook } from './read-base-book.js';

const file = readBaseBook();
const at = new Date('2026-11-22T12:00:00Z');

function priceTexts(model: BaseBookFile['providers'][number]['models'][number]): string[] {
  return model.periods.flatMap((period) =>
    Object.values(period.prices).flatMap((price) => (typeof price === 'string' ? [price] : [price.base, ...price.tiers.map(([, tier]) => tier)])),
  );
}

describe('the shipped list prices', () => {
  it('are what the converter makes of the installed catalogue', () => {
    expect(() => execFileSync(process.execPath, ['scripts/build-price-book.mjs', '--check'], { stdio: 'pipe' })).not.toThrow();
  });

  it('S2 are decimal text that survives read and print', () => {
    const changed = file.providers.flatMap((provider) => provider.models.flatMap(priceTexts)).filter((text) => formatPrice(parsePrice(text)) !== text);
    expect(changed).toEqual([]);
  });

  it('agree with the catalogue own calculator for every model priced by the token', () => {
    const disagreements = file.providers.flatMap((provider) =>
      provider.models.flatMap((model) => {
        const rating = snapshotWith().rate(
          aQuery({
            provider: provider.id,
            model: model.id,
            usage: { input_tokens: 700, cache_read_tokens: 200, cache_creation_tokens: 100, output_tokens: 50 },
            at,
          }),
        );
        if (!rating.ok) return [];
        const theirs = calcPrice({ input_tokens: 1_000, cache_read_tokens: 200, cache_write_tokens: 100, output_tokens: 50 }, model.id, {
          providerId: provider.id,
          timestamp: at,
        });
        // Their matching is looser: an id may be caught by another model's rule first. Only the same model can be compared.
        if (theirs === null || theirs.model.id !== model.id) return [];
        const ours = Number(rating.costNano) / 1e9;
        return Math.abs(ours - theirs.total_price) <= 1e-9 ? [] : [`${provider.id}/${model.id}: ours ${ours}, theirs ${theirs.total_price}`];
      }),
    );
    expect(disagreements).toEqual([]);
  });

  it('price nearly everything: fewer than one model in twenty lacks a price for plain text', () => {
    const models = file.providers.flatMap((provider) => provider.models.map((model) => ({ provider: provider.id, model: model.id })));
    const unpriced = models.filter((query) => !snapshotWith().rate(aQuery({ ...query, usage: { input_tokens: 1, output_tokens: 1 }, at })).ok);
    expect(unpriced.length).toBeLessThan(models.length / 20);
  });

  it('find every model under its own id', () => {
    const book = new BaseBook(file);
    const lost = file.providers.flatMap((provider) =>
      provider.models.filter((model) => book.find(provider.id, model.id)?.id !== model.id).map((model) => `${provider.id}/${model.id}`),
    );
    expect(lost).toEqual([]);
  });
});
