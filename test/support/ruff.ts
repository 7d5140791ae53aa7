/** ruff, from the virtual environment that scripts/litellm-venv.sh makes; without it its tests are named as not run (no-skip-reporter.js). */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const RUFF = fileURLToPath(new URL('../../.venv-litellm/bin/ruff', import.meta.url));
export const describeWithRuff = existsSync(RUFF) ? describe : describe.skip;
