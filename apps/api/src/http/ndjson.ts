import { DomainError, type Json } from '#libs/kernel/index.js';
import { jsonProblemDetail, readJsonText } from './json-body.js';

/**
 * The values of an NDJSON body, one per line; empty lines are passed over.
 * @throws DomainError request.not_json naming the line: a body cut short must not be taken for a whole one, so nothing is stored
 */
export function readNdjson(text: string): Json[] {
  return text.split('\n').flatMap((line, index): Json[] => {
    if (line.trim() === '') return [];
    const reading = readJsonText(line);
    if (reading.ok) return [reading.value as Json];
    throw new DomainError({
      code: `request.${reading.problem}`,
      kind: 'invalid',
      publicMessage: `line ${index + 1}: ${jsonProblemDetail(reading.problem)}; nothing was stored`,
    });
  });
}
