/**
 * A gateway's name for a model. One an operator set is the answer; ones learned from events only fill in for a name nobody set, and
 * may be several (deployments behind one name): the caller then takes the dearest.
 */
export interface ModelAlias {
  /** '' is every source. */
  readonly sourceId: string;
  readonly alias: string;
  readonly provider: string;
  readonly model: string;
  readonly learned: boolean;
}

export class AliasIndex {
  private readonly byName = new Map<string, ModelAlias[]>();

  constructor(aliases: readonly ModelAlias[]) {
    for (const alias of aliases) {
      const name = alias.alias.toLowerCase();
      const known = this.byName.get(name);
      if (known === undefined) this.byName.set(name, [alias]);
      else known.push(alias);
    }
  }

  /** What was set for `name`, for this source before for every source. */
  findSet(sourceId: string, name: string): ModelAlias | undefined {
    const set = this.named(name).filter((alias) => !alias.learned);
    return set.find((alias) => alias.sourceId === sourceId) ?? set.find((alias) => alias.sourceId === '');
  }

  /** What `name` was seen to be at this source; a caller without a source ('') gets what it was seen to be anywhere. One source's events never price another's. */
  findLearned(sourceId: string, name: string): readonly ModelAlias[] {
    return this.named(name).filter((alias) => alias.learned && (sourceId === '' || alias.sourceId === sourceId));
  }

  has(alias: Omit<ModelAlias, 'learned'>): boolean {
    return this.named(alias.alias).some(
      (known) => known.sourceId === alias.sourceId && known.alias === alias.alias && known.provider === alias.provider && known.model === alias.model,
    );
  }

  /** Every alias, in no particular order. */
  all(): ModelAlias[] {
    return [...this.byName.values()].flat();
  }

  private named(name: string): readonly ModelAlias[] {
    return this.byName.get(name.toLowerCase()) ?? [];
  }
}
