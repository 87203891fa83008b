# What an installation holds, how it is taken away again, and the Debian package.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME steptop)
set(generated_share ${CMAKE_BINARY_DIR}/share)

# Made by the program itself from its tables: help topic, file.
set(steptop_topics
  "man|man/man1/steptop.1"
  "bash|completions/steptop.bash"
  "zsh|completions/_steptop"
  "fish|completions/steptop.fish"
  "profile-schema|schemas/profile.schema.json"
  "report-schema|schemas/report.schema.json")
set(topic_files)
foreach(entry IN LISTS steptop_topics)
  string(REPLACE "|" ";" pair ${entry})
  list(GET pair 0 topic)
  list(GET pair 1 name)
  get_filename_component(folder ${generated_share}/${name} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${generated_share}/${name}
    COMMAND steptop help ${topic} > ${generated_share}/${name}.part
    COMMAND ${CMAKE_COMMAND} -E rename ${generated_share}/${name}.part ${generated_share}/${name}
    DEPENDS steptop VERBATIM)
  list(APPEND topic_files ${generated_share}/${name})
endforeach()
add_custom_target(share ALL DEPENDS ${topic_files})

# Debian's zsh looks into vendor-completions for packages, into site-functions for /usr/local.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(zsh_folder ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
else()
  set(zsh_folder ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
endif()

install(TARGETS steptop RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
file(GLOB shipped_profiles CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/profiles/*.yaml)
install(FILES ${shipped_profiles} DESTINATION ${CMAKE_INSTALL_DATADIR}/steptop/profiles)
install(DIRECTORY ${generated_share}/schemas DESTINATION ${CMAKE_INSTALL_DATADIR}/steptop)
install(FILES ${generated_share}/man/man1/steptop.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${generated_share}/completions/steptop.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME steptop)
install(FILES ${generated_share}/completions/_steptop DESTINATION ${zsh_folder})
install(FILES ${generated_share}/completions/steptop.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -DMANIFEST=${CMAKE_BINARY_DIR}/install_manifest.txt
  -P ${CMAKE_SOURCE_DIR}/cmake/Uninstall.cmake VERBATIM)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME steptop)
set(CPACK_PACKAGE_CONTACT "The steptop authors <steptop@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "top for a training step")
set(CPACK_PACKAGE_DESCRIPTION "Runs the forward and backward passes of a transformer on a device and shows the time of every
kernel and layer while they run, in the terminal; writes the same figures as YAML and Markdown.")
set(CPACK_DEBIAN_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Any OpenBLAS satisfies the linker; the OpenMP build shares one thread pool with our own kernels.
set(CPACK_DEBIAN_PACKAGE_DEPENDS libopenblas0-openmp)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
include(CPack)
