import { DomainError } from '../../kernel/index.js';
import { FreshCache } from './fresh-cache.js';
import { SettingsRevision } from './settings-revision.js';

describe('answers kept while nothing changed', () => {
  let now = 0;
  let stored = 1n;
  let questions = 0;
  let away = false;
  const make = (): FreshCache<string | null> => {
    now = 5_000;
    stored = 1n;
    questions = 0;
    away = false;
    const read = async (): Promise<bigint> => {
      questions += 1;
      if (away) throw new DomainError({ code: 'storage.unavailable', kind: 'unavailable', publicMessage: 'away' });
      return stored;
    };
    return new FreshCache(new SettingsRevision(read, () => now));
  };
  const read = async (cache: FreshCache<string | null>, id: string, value: string | null): Promise<void> => {
    await cache.find(id);
    cache.startReading().keep(id, value);
  };

  it('are given again without a question for a second, also the answer "there is none"', async () => {
    const cache = make();
    await read(cache, 'a', null);
    now += 1_000;
    expect(cache.get('a')).toBeNull();
    now += 1_001;
    expect(cache.get('a')).toBeUndefined();
    expect(await cache.find('a')).toBeNull();
  });

  it('are dropped by the question that finds a change, whoever made it', async () => {
    const cache = make();
    await read(cache, 'a', 'old');
    stored += 1n;
    now += 1_001;
    expect(await cache.find('a')).toBeUndefined();
  });

  it('count their age from the begin of the question, not from its end', async () => {
    let answer: (revision: bigint) => void = () => undefined;
    now = 5_000;
    const cache = new FreshCache<string>(
      new SettingsRevision(
        async () => await new Promise((resolve) => (answer = resolve)),
        () => now,
      ),
    );
    const finding = cache.find('a');
    now += 900;
    answer(1n);
    await finding;
    cache.startReading().keep('a', 'old');
    now += 101;
    expect(cache.get('a')).toBeUndefined();
  });

  it('cost one question a second, however many ask', async () => {
    const cache = make();
    await read(cache, 'a', 'x');
    now += 1_001;
    await Promise.all(Array.from({ length: 100 }, async () => await cache.find('a')));
    expect(questions).toBe(2);
  });

  it('are not stored by a read that began before a change', async () => {
    const cache = make();
    await cache.find('a');
    const reading = cache.startReading();
    cache.clear();
    reading.keep('a', 'before the change');
    expect(cache.get('a')).toBeUndefined();
  });

  it('are all there is while the database is away, for five minutes; what was not known then cannot be told', async () => {
    const cache = make();
    await read(cache, 'a', 'known');
    away = true;
    now += 299_000;
    expect(await cache.find('a')).toBe('known');
    await expect(cache.find('b')).rejects.toMatchObject({ code: 'storage.unavailable' });
    now += 2_000;
    await expect(cache.find('a')).rejects.toMatchObject({ code: 'storage.unavailable' });
  });

  it('stay bounded under a stream of made-up ids', async () => {
    const cache = make();
    await cache.find('first');
    for (let index = 0; index < 160_000; index += 1) cache.startReading().keep(`id-${index}`, 'x');
    const kept = Array.from({ length: 160_000 }, (_, index) => cache.get(`id-${index}`)).filter((value) => value !== undefined).length;
    expect(kept).toBe(150_000);
    expect(cache.get('id-159999')).toBe('x');
  });
});
