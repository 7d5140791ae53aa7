import { FreshCache } from './fresh-cache.js';

describe('answers kept for a second', () => {
  let now = 0;
  const make = (): FreshCache<string | null> => {
    now = 5_000;
    return new FreshCache(() => now);
  };

  it('are given again for a second and then read anew, also the answer "there is none"', () => {
    const cache = make();
    cache.startReading().keep('a', null);
    now += 1_000;
    expect(cache.get('a')).toBeNull();
    now += 1;
    expect(cache.get('a')).toBeUndefined();
  });

  it('count their age from the begin of the read, not from its end', () => {
    const cache = make();
    const reading = cache.startReading();
    now += 900;
    reading.keep('a', 'old');
    now += 101;
    expect(cache.get('a')).toBeUndefined();
  });

  it('are not stored by a read that began before a change', () => {
    const cache = make();
    const reading = cache.startReading();
    cache.clear();
    reading.keep('a', 'before the change');
    expect(cache.get('a')).toBeUndefined();
  });

  it('stay bounded under a stream of made-up ids', () => {
    const cache = make();
    for (let index = 0; index < 60_000; index += 1) cache.startReading().keep(`id-${index}`, 'x');
    const kept = Array.from({ length: 60_000 }, (_, index) => cache.get(`id-${index}`)).filter((value) => value !== undefined).length;
    expect(kept).toBeLessThanOrEqual(50_000);
    expect(cache.get('id-59999')).toBe('x');
  });
});
