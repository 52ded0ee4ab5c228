import { expect, it, vi } from 'vitest';
import { NativeAccelerator } from './accelerator.ts';

vi.mock(import('./addon.ts'), async (original) => ({ ...(await original()), findAddon: () => null }));

it('says how to get the addon where it is not built', async () => {
  const native = new NativeAccelerator();
  expect(await native.unavailable()).toMatch(/not built[^]*cargo[^]*rustup\.rs[^]*npx nx build native/);
  await expect(native.activate({})).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});
