import fc from 'fast-check';
import { csvLine, toCsv } from './csv.js';

describe('CSV', () => {
  it('puts the header first and ends every line with CRLF', () => {
    expect(
      toCsv(
        ['tenant_id', 'cost_usd', 'requests'],
        [
          { tenant_id: 'acme', cost_usd: '-0.005000000', requests: 3n },
          { tenant_id: null, cost_usd: undefined, requests: 0 },
        ],
      ),
    ).toBe('tenant_id,cost_usd,requests\r\nacme,-0.005000000,3\r\n,,0\r\n');
  });

  it.each(['=1+1', '+1', '-1+1', '@SUM(A1)', '\t=1', ' =1', '\n=1', '＝1'])('keeps a spreadsheet from running %j', (cell) => {
    const line = csvLine([cell]);
    expect(line.replace(/^"/, '').startsWith("'")).toBe(true);
  });

  it('leaves numbers numbers', () => {
    expect(csvLine(['-12.5', '0', 5, -3n])).toBe('-12.5,0,5,-3\r\n');
  });

  it('can be read back by RFC 4180, for any text that needs no guard', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ unit: fc.constantFrom('a', '"', ',', '\r', '\n', 'ü', '1') }).map((text) => `x${text}`),
          { minLength: 1, maxLength: 5 },
        ),
        (cells) => {
          expect(readLine(csvLine(cells))).toEqual(cells);
        },
      ),
    );
  });
});

/** A reader written from the RFC's grammar, character by character. */
function readLine(line: string): string[] {
  const cells: string[] = [];
  let cell = '';
  let quoted = false;
  const body = line.slice(0, -2);
  for (let index = 0; index < body.length; index += 1) {
    const char = body[index];
    if (quoted && char === '"' && body[index + 1] === '"') {
      cell += '"';
      index += 1;
    } else if (char === '"') quoted = !quoted;
    else if (char === ',' && !quoted) {
      cells.push(cell);
      cell = '';
    } else cell += char;
  }
  return [...cells, cell];
}
