/**
 * Recomputes what is cached from the transfers, in one statement and so in one snapshot: each account's debits and credits, each lot's rest,
 * each tenant's row, gap-free numbering, and that every transaction moves something inside its own tenant. The zero sum needs no line of
 * its own: a transfer has both sides in one row. Cost: one pass over the transfers.
 */
export const CHECK_LEDGER = `
  WITH moved AS MATERIALIZED (
    SELECT account_id, sum(debits) AS debits, sum(credits) AS credits
      FROM (SELECT debit_account AS account_id, amount AS debits, 0 AS credits FROM ledger.transfer
            UNION ALL
            SELECT credit_account, 0, amount FROM ledger.transfer) AS side
     GROUP BY account_id
  ), account AS MATERIALIZED (
    SELECT a.account_id, a.tenant_id, a.code, coalesce(m.debits, 0) AS debits, coalesce(m.credits, 0) AS credits
      FROM ledger.account a LEFT JOIN moved m USING (account_id)
  ), tenant AS (
    SELECT b.tenant_id,
           (SELECT count(*) FROM ledger.transaction t WHERE t.tenant_id = b.tenant_id) AS seq,
           coalesce((SELECT sum(a.credits - a.debits) FROM account a WHERE a.tenant_id = b.tenant_id AND a.code LIKE 'lot:%'), 0) AS lots,
           coalesce((SELECT sum(a.debits - a.credits) FROM account a WHERE a.tenant_id = b.tenant_id AND a.code = 'receivable'), 0) AS receivable
      FROM ledger.tenant_balance b
  ), line AS (
    SELECT t.tenant_id, t.transaction_id, count(x.transaction_id) AS lines,
           count(*) FILTER (WHERE d.tenant_id = t.tenant_id AND c.tenant_id = t.tenant_id) AS own_lines
      FROM ledger.transaction t
      LEFT JOIN ledger.transfer x USING (transaction_id)
      LEFT JOIN ledger.account d ON d.account_id = x.debit_account
      LEFT JOIN ledger.account c ON c.account_id = x.credit_account
     GROUP BY t.tenant_id, t.transaction_id
  ), compared (tenant_id, account, field, expected, found) AS (
    SELECT a.tenant_id, a.code, side.* FROM account a LEFT JOIN ledger.account_balance b USING (account_id)
      CROSS JOIN LATERAL (VALUES ('debits', a.debits, coalesce(b.debits, 0)::numeric), ('credits', a.credits, coalesce(b.credits, 0)::numeric)) AS side
    UNION ALL
    SELECT l.tenant_id, a.code, 'remaining', a.credits - a.debits, l.remaining_nano FROM ledger.lot l JOIN account a USING (account_id)
    UNION ALL
    SELECT b.tenant_id, 'tenant', side.* FROM ledger.tenant_balance b JOIN tenant t USING (tenant_id)
      CROSS JOIN LATERAL (VALUES ('seq', t.seq::numeric, b.seq::numeric), ('lots', t.lots, b.lots_nano), ('receivable', t.receivable, b.receivable_nano)) AS side
    UNION ALL
    SELECT tenant_id, 'transaction:' || transaction_id, 'transfers', greatest(lines, 1), own_lines FROM line
  )
  SELECT (SELECT count(*) FROM ledger.account) AS accounts, drift.*
    FROM (SELECT) AS one
    LEFT JOIN (SELECT tenant_id, account, field, expected::text, found::text FROM compared WHERE expected <> found
                ORDER BY tenant_id, account, field LIMIT 1000) AS drift ON true`;
