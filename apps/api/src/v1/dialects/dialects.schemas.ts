import { z } from 'zod';
import { REASON_CODES } from '#libs/quota/index.js';

export const problemWire = z
  .object({ type: z.string(), title: z.string(), status: z.int(), code: z.string(), detail: z.string(), request_id: z.string() })
  .meta({ id: 'Problem' });

const text = { schema: { type: 'string' } } as const;

/** The answer of dialects that read headers. */
export const ANSWER_HEADERS = {
  'x-tollgate-decision': { ...text, description: 'allow, downgrade or block' },
  'x-tollgate-reason': { ...text, description: 'The reason code' },
  'x-tollgate-model': { ...text, description: 'The model to call' },
  'x-tollgate-max-output-tokens': { ...text, description: 'The longest answer that the hold covers' },
  'x-tollgate-hold-id': { ...text, description: 'Report the call with it, so that its cost replaces the hold' },
  'x-tollgate-available-usd': { ...text, description: 'What may still be promised after this' },
  'retry-after': { ...text, description: 'Seconds, where waiting helps' },
};

/** LiteLLM's generic_guardrail_api: what it takes for a request, of which everything else is left unread. */
export const guardrailBody = z.object({
  input_type: z.enum(['request', 'response']),
  litellm_call_id: z.string().nullish(),
  litellm_trace_id: z.string().nullish(),
  model: z.string().nullish(),
  texts: z.array(z.string()).nullish(),
  structured_messages: z.array(z.unknown()).nullish(),
  tools: z.array(z.unknown()).nullish(),
  images: z.array(z.string()).nullish(),
  request_data: z.record(z.string(), z.unknown()).nullish().meta({ description: 'user_api_key_*: whom the proxy knows' }),
  request_headers: z.record(z.string(), z.string()).nullish(),
  additional_provider_specific_params: z.record(z.string(), z.unknown()).nullish(),
});

export const guardrailAnswer = z.object({ action: z.enum(['NONE', 'BLOCKED']), blocked_reason: z.string().optional() }).meta({ id: 'LiteLlmGuardrailAnswer' });
export type GuardrailAnswer = z.infer<typeof guardrailAnswer>;

/** Portkey's webhook check. */
export const portkeyBody = z.object({
  eventType: z.enum(['beforeRequestHook', 'afterRequestHook']),
  requestType: z.string().nullish(),
  provider: z.string().nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  request: z.object({ json: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

export const portkeyAnswer = z
  .object({
    verdict: z.boolean(),
    data: z
      .object({
        decision: z.enum(['allow', 'downgrade', 'block']),
        reason: z.object({ code: z.union([z.enum(REASON_CODES), z.string()]), message: z.string(), retry_after_ms: z.int().nullable() }),
        model: z.string().nullable(),
        max_output_tokens: z.int().nullable(),
        hold_id: z.string().nullable(),
      })
      .optional()
      .meta({ description: 'Portkey shows this to its client, so it says nothing about the balance' }),
    transformedData: z
      .object({ request: z.object({ json: z.record(z.string(), z.unknown()) }) })
      .optional()
      .meta({ description: 'The request to send instead, where another model or a shorter answer runs' }),
  })
  .meta({ id: 'PortkeyVerdict' });
export type PortkeyAnswer = z.infer<typeof portkeyAnswer>;
