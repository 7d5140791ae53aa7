/**
 * The rated lines of a posting as one text: a line each, the figures in their smallest units, the component last because a meter's name
 * may hold spaces (but no line break). Every event has them: as jsonb they were two thirds of what a posting costs the database.
 */
import { assert, formatPrice, formatUsd } from '#libs/kernel/index.js';
import type { RatedLine } from '#libs/pricing/index.js';
import type { LineJson } from '../application/event-reader.js';

const LINE = /^(\d+) (\d+) (\d+) (\d+) (.+)$/;

export function writeLines(lines: readonly RatedLine[]): string {
  let text = '';
  for (const line of lines) text += `${text === '' ? '' : '\n'}${line.quantity} ${line.unitPrice} ${line.costNano} ${line.chargeNano} ${line.component}`;
  return text;
}

export function readLines(text: string): LineJson[] {
  return text === '' ? [] : text.split('\n').map(readLine);
}

function readLine(text: string): LineJson {
  const [, quantity, unitPrice, costNano, chargeNano, component] = LINE.exec(text) ?? [];
  assert(
    quantity !== undefined && unitPrice !== undefined && costNano !== undefined && chargeNano !== undefined && component !== undefined,
    `not a rated line: ${text}`,
  );
  return {
    component,
    quantity: Number(quantity),
    unit_price: formatPrice(BigInt(unitPrice)),
    cost_usd: formatUsd(BigInt(costNano)),
    charge_usd: formatUsd(BigInt(chargeNano)),
  };
}
