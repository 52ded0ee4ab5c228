/** Registers the data sets that come with the package. */
import { openImdb } from './imdb/imdb.ts';
import { openQuickstart } from './quickstart.ts';
import { registerTextSource } from './text-splits.ts';

registerTextSource('quickstart', openQuickstart);
registerTextSource('imdb', openImdb);
