/**
 * What was made for a key, while it is asked for again and again: two generations of at most `size` entries each, so that what is in use
 * stays, the rest is forgotten, and neither costs more than a look-up.
 */
export class Lately<K, T> {
  /** Null while nothing was asked for: there may be one for each of many things that nobody asks about. */
  private young: Map<K, T> | null = null;
  private old: ReadonlyMap<K, T> | null = null;

  /** @param size entries of a generation; at most twice as many are kept */
  constructor(private readonly size: number) {}

  /** What `make` made for the key, now or lately. */
  get(key: K, make: () => T): T {
    const known = this.young?.get(key);
    if (known !== undefined) return known;
    const value = this.old?.get(key) ?? make();
    if (this.young === null || this.young.size >= this.size) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, value);
    return value;
  }
}
