"""From an address to rows: find the files, look at them, and read each kind strictly, in memory that stays flat."""
