/**
 * Ladders: what may run instead of a model, best first. A name ending in `*` stands for every model that begins so; the exact name wins,
 * then the longest beginning. A tenant's own ladder for a model replaces everybody's.
 */
export type Ladders = ReadonlyMap<string, readonly string[]>;

/** Whether `model` is what `pattern` names. */
export function matchesModel(pattern: string, model: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;
}

/** The ladder for `model`, without itself; empty where there is none. */
export function ladderFor(own: Ladders, everybodys: Ladders, model: string): readonly string[] {
  const ladder = find(own, model) ?? find(everybodys, model) ?? [];
  return ladder.filter((step) => step !== model);
}

function find(ladders: Ladders, model: string): readonly string[] | undefined {
  const exact = ladders.get(model);
  if (exact !== undefined) return exact;
  let best: string | undefined;
  for (const pattern of ladders.keys()) {
    if (pattern.endsWith('*') && matchesModel(pattern, model) && pattern.length > (best?.length ?? 0)) best = pattern;
  }
  return best === undefined ? undefined : ladders.get(best);
}
