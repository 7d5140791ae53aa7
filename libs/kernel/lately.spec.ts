import { Lately } from './lately.js';

const SIZE = 4;

describe('Lately', () => {
  it('makes a value once while it is in use, whatever else is asked for', () => {
    const lately = new Lately<string, object>(SIZE);
    const first = lately.get('in use', () => ({}));
    for (let other = 0; other < 10 * SIZE; other += 1) {
      lately.get(`other ${other}`, () => ({}));
      expect(lately.get('in use', () => ({}))).toBe(first);
    }
  });

  it('forgets what has not been asked for in two generations', () => {
    const lately = new Lately<string, object>(SIZE);
    const first = lately.get('once', () => ({}));
    for (let other = 0; other < 2 * SIZE; other += 1) lately.get(`other ${other}`, () => ({}));
    expect(lately.get('once', () => ({}))).not.toBe(first);
  });
});
