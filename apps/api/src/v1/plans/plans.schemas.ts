import { z } from 'zod';
import { externalId, pageOf, pageQuery, text } from '../../http/schemas.js';

export const planId = externalId();

export const putPlanBody = z.strictObject({ name: text(200), rate_card_id: externalId().nullable().optional() }).meta({ id: 'PlanInput' });
export type PutPlanBody = z.infer<typeof putPlanBody>;

export const listPlansQuery = pageQuery;
export type ListPlansQuery = z.infer<typeof listPlansQuery>;

export const planWire = z
  .object({ plan_id: z.string(), name: z.string(), rate_card_id: z.string().nullable(), created_at: z.string(), updated_at: z.string() })
  .meta({ id: 'Plan' });
export type PlanWire = z.infer<typeof planWire>;

export const planPage = pageOf(planWire);
