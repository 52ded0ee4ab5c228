/** @tensorloom/native: the accelerator `native`. Importing it registers it. */
export { NativeAccelerator } from './accelerator.ts';
