"""What any module may use: errors, the command line, progress, files, devices, fonts."""
